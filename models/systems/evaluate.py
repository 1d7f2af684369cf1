"""Train and score a system on every fold of a protocol."""

import json
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from models.checkpoint import save_safetensors
from models.device import CPU, accelerators, chosen_device, device_facts, device_of
from models.faces.detector_file import detector_params, save_detector
from models.faces.params import DetectorParams
from models.fusion.joint import JointNet
from models.fusion.pool import fit_pool, fit_temperature, pooled
from models.losses import log_scores
from models.resumption import Checkpoint
from models.systems.inputs import ClipSet, Store, without_face
from models.systems.params import Settings, Widths
from models.systems.recipe import Recipe, fit_statistics
from models.systems.registry import recipe
from models.threads import pinned_threads
from models.training import ConvexSettings, History, fit, minimize
from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError, ParamsError, TrainingError
from pipeline.files import replace_folder
from pipeline.report.run import JOINT_DETECTORS
from pipeline.scores.metrics import DECIMALS
from pipeline.scores.predictions import BRANCHES, Floats, Predictions
from pipeline.splits import Fold, inner_folds, only
from pipeline.systems import SYSTEMS, readable
from pipeline.work.executors import local_executor, worker_count
from pipeline.work.progress import counted, track
from pipeline.work.scratch import scratch, scratch_beside, scratch_of

if TYPE_CHECKING:
    from models.faces.scores import ScoredFrame

log = logging.getLogger(__name__)

WORTH_KEEPING_S = 20.0
"""Seconds of training that are kept for a run that goes on where this one was killed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fold left.

    Attributes:
        fold: its clips.
        network: trained on the training clips.
        widths: of its inputs and answers.
        pools: by branch the weight of each expert, 1 / T of itself or, with `fusion.pool`, those of
            network and branches; empty without inner folds.
        collapsed: whether `fusion.pool` found no weights, so that the network answers alone.
        clip_ids: of the clips that were scored, in the order of the probabilities.
        probabilities: by branch p [N, K] of the test clips, calibrated.
        as_trained: of each network, before calibration.
        history: one row per epoch of each phase.
        asked: by branch p [N, K] of the clips without an emotion, calibrated.
        faceless: the test clips in which no face was found, of a system that looks for faces.
        boxes: what a jointly trained detector found in frames of the test clips.
    """

    fold: Fold
    network: nn.Module
    widths: Widths
    pools: dict[str, dict[str, float]]
    collapsed: bool
    clip_ids: tuple[str, ...]
    probabilities: dict[str, Floats]
    as_trained: dict[str, Floats]
    history: list[dict[str, object]]
    asked: dict[str, Floats] = field(default_factory=dict)
    faceless: tuple[str, ...] = ()
    boxes: tuple["ScoredFrame", ...] = ()


def run_folds(
    system: str, store: Store, folds: Sequence[Fold], settings: Settings
) -> list[Outcome]:
    """Train and score `system` on each fold, on the clips that it can read.

    Raises:
        CorpusError: the corpus cannot serve the system, or ids do not join.
    """
    inner = inner_folds(store.records, folds, settings.inner_folds)
    records = readable(system, store.records)
    if len(records) < len(store.records):
        log.warning(
            "%s reads %d of %d clips; the others lack sound or video",
            system, len(records), len(store.records),
        )  # fmt: skip
    scored = usable_folds(system, folds, records)
    left_out = [tuple(only(inner[fold.name], records)) for fold in scored]
    work = partial(evaluate_fold, system, replace(store), settings=settings)
    outcomes = _beside_each_other(work, scored, left_out, _workers(system, settings, len(scored)))
    return list(track(outcomes, total=len(scored), desc=system, unit="fold"))


def _workers(system: str, settings: Settings, folds: int) -> int:
    """Processes for so many folds: 1 where each would hold sounds or pictures of all clips."""
    spec = SYSTEMS[system]
    if "audio32k" in spec.reads or settings.tunes(system):
        return 1
    if spec.reads_frames(settings.fusion.joint):
        return 1
    cards = accelerators()
    return min(folds, worker_count(), len(cards.names) if cards else folds)


def _beside_each_other(
    work: Callable[[Fold, Sequence[Fold]], Outcome],
    folds: Sequence[Fold],
    inner: Sequence[Sequence[Fold]],
    workers: int,
) -> Iterator[Outcome]:
    """The outcomes in the order of the folds; their number of workers changes none.

    Raises:
        ParamsError: a worker process was lost.
    """
    if workers <= 1:
        yield from map(work, folds, inner)
        return
    cards = accelerators()
    with local_executor(workers, cards.names if cards else ()) as executor:
        try:
            answers = executor.map(partial(_in_worker, work, scratch()), folds, inner)
            yield from (pickle.loads(answer) for answer in answers)  # noqa: S301, of our own
        except BrokenExecutor as error:
            raise ParamsError(
                "fuse: a worker process was lost; free memory, or set AVEMO_WORKERS to fewer"
            ) from error


def _in_worker(
    work: Callable[[Fold, Sequence[Fold]], Outcome],
    state: Path | None,
    fold: Fold,
    inner: Sequence[Fold],
) -> bytes:
    """The outcome, pickled: between processes torch would put its numbers in shared memory.

    That has 64 MB in a container, and is kept as long as the outcome is.
    """
    with scratch_beside(state):
        return pickle.dumps(work(fold, inner))


def usable_folds(system: str, folds: Sequence[Fold], records: Sequence[ClipRecord]) -> list[Fold]:
    """The folds with these clips alone, as far as some are left to train on and some to test.

    Raises:
        CorpusError: there is no such fold.
    """
    found = only(folds, records)
    if not found:
        raise CorpusError(
            f"system {system} can read {counted(len(records), 'clip')}, and no fold has some to "
            "train on and some to test; choose another split.protocol"
        )
    return found


def scratch_of_run(system: str, store: Store, folds: Sequence[Fold], settings: Settings) -> Path:
    """Folder for the state of trainings of `run_folds` with these arguments."""
    facts = {
        "system": system,
        "clips": [str(record) for record in store.records],
        "folds": [str(fold) for fold in folds],
        "settings": settings.dump(),
        **device_facts(),
    }
    reads = SYSTEMS[system].reads
    products = [store.detector if name == "detector" else store.data / name for name in reads]
    return scratch_of("fuse", __name__, facts, products)


def evaluate_fold(
    system: str, store: Store, fold: Fold, inner: Sequence[Fold], settings: Settings
) -> Outcome:
    """Train on the fold's training clips, calibrate on its inner folds, score its test clips.

    A clip that shows no face is answered by the audio branch, as by a saved model.
    """
    history = History()
    scored = _train_and_score(system, store, fold, settings, history)
    scores = scored.scores
    if settings.inner_folds.count and not inner:
        log.warning(
            "fold %s: no part of its training clips can be held out; its probabilities are not "
            "calibrated",
            fold.name,
        )
    pools = _fit_pools(system, store, inner, settings)
    collapsed = settings.fusion.pool and len(pools) > 1 and len(pools["av"]) == 1
    alone = {branch: {branch: 1.0} for branch in scores}
    probabilities, as_trained = (
        _by_sound(
            {branch: pooled(scores, weights[branch]).numpy() for branch in scores}, scored.faceless
        )
        for weights in (pools or alone, alone)
    )
    tested = len(fold.test)
    return Outcome(
        fold,
        scored.network,
        scored.widths,
        pools,
        collapsed,
        scored.clip_ids[:tested],
        {branch: p[:tested] for branch, p in probabilities.items()},
        {branch: p[:tested] for branch, p in as_trained.items()},
        history.rows,
        {branch: p[tested:] for branch, p in probabilities.items()},
        tuple(compress(fold.test, scored.faceless[:tested].tolist())),
        scored.boxes,
    )


def before_calibration(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same outcomes with the networks' own probabilities."""
    return [replace(outcome, probabilities=outcome.as_trained) for outcome in outcomes]


def sum_of_branches(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same outcomes with the plain sum of both branches as trained for the fused answer.

    A product of experts, softmax(log p_a + log p_v), which a fused network should be better than.

    Source: Hinton, "Products of Experts", ICANN 1999.
    """
    return [
        replace(outcome, probabilities={"av": _product(outcome.as_trained)}) for outcome in outcomes
    ]


def _product(probabilities: Mapping[str, Floats]) -> Floats:
    """Both branches' p [N, K] multiplied and normalised, [N, K]."""
    branches = {branch: 1.0 for branch in ("audio", "visual")}
    least = float(np.finfo(np.float64).tiny)  # of 0 in both at different places nothing were left
    log_p = {b: torch.from_numpy(probabilities[b]).clamp_min(least).log() for b in branches}
    product: Floats = pooled(log_p, branches).numpy()
    return product


def mean_weights(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Weights of the headline branch's experts, mean over the folds that were calibrated."""
    branch = next((branch for outcome in outcomes for branch in outcome.pools), "")
    pools = [outcome.pools[branch] for outcome in outcomes if branch in outcome.pools]
    names = dict.fromkeys(expert for pool in pools for expert in pool)
    return {e: round(sum(pool.get(e, 0.0) for pool in pools) / len(pools), DECIMALS) for e in names}


def faceless_clips(outcomes: Sequence[Outcome]) -> int:
    """How many answers to test clips are to clips in which no face was found."""
    return sum(len(outcome.faceless) for outcome in outcomes)


def collapsed_pools(outcomes: Sequence[Outcome]) -> list[str]:
    """Names of the folds whose pool collapsed."""
    return [outcome.fold.name for outcome in outcomes if outcome.collapsed]


def joint_boxes(outcomes: Sequence[Outcome], params: DetectorParams) -> dict[str, object] | None:
    """How well jointly trained detectors find the face; None where there are none.

    Args:
        outcomes: of all folds.
        params: section `detector`.

    Returns:
        What `models.faces.scores.score_frames` says of all test frames, and `warning`, see
        `joint_failure`.
    """
    frames = [frame for outcome in outcomes for frame in outcome.boxes]
    if not frames:
        return None
    from models.faces.scores import rounded, score_frames  # torchvision's, 2 s

    metrics = score_frames(frames, params.box_loss == "kl", params.classes == "emotion")
    return rounded({**metrics, "warning": joint_failure(outcomes)})


def joint_failure(outcomes: Sequence[Outcome]) -> str | None:
    """Which detectors joint training left worse than one may use; None where none are."""
    by_fold = {outcome.fold.name: outcome.boxes for outcome in outcomes if outcome.boxes}
    if not by_fold:
        return None
    from models.faces.scores import failure, mean_iou  # torchvision's, 2 s

    overlaps = {fold: mean_iou(frames, "dlib") for fold, frames in by_fold.items()}
    text = failure(overlaps, {}, "fusion.joint_lr")
    return f"after joint training, {text}" if text else None


def _by_sound(probabilities: dict[str, Floats], faceless: Tensor) -> dict[str, Floats]:
    """The same p [N, K] by branch, but the audio branch's for `av` of clips without a face [N]."""
    if "av" in probabilities and "audio" in probabilities:
        without = faceless.numpy()
        probabilities["av"][without] = probabilities["audio"][without]
    return probabilities


class _Scored(NamedTuple):
    """A network trained on a fold's training clips, and what it says of the others.

    Attributes:
        network: in eval mode, on the processor.
        widths: of its inputs and answers.
        clip_ids: of the others, N.
        scores: by branch log p [N, K].
        faceless: see `models.systems.inputs.without_face`, [N].
        boxes: see `Outcome`.
    """

    network: nn.Module
    widths: Widths
    clip_ids: tuple[str, ...]
    scores: dict[str, Tensor]
    faceless: Tensor
    boxes: tuple["ScoredFrame", ...] = ()


def _train_and_score(
    system: str, store: Store, fold: Fold, settings: Settings, history: History
) -> _Scored:
    built = recipe(system, store, fold, settings)
    clips = ClipSet(fold.train, store.labels(), built.readers)
    with pinned_threads(settings.training.threads):
        network = train(clips, built, settings, history, fold.name)
        others = clips.subset((*fold.test, *fold.asked))
        looked = built.look_again(network)
        tested = others.reading(looked.readers)
        logits = predict(network, tested)
        network.to(CPU)
    scores = {branch: log_scores(one) for branch, one in logits.items()}
    return _Scored(network, built.widths, tested.ids, scores, without_face(tested), looked.boxes)


def _fit_pools(
    system: str, store: Store, inner: Sequence[Fold], settings: Settings
) -> dict[str, dict[str, float]]:
    """The weights of each branch, fitted on the held-out clips of all inner folds; none without."""
    if not inner:
        return {}
    scored = [_train_and_score(system, store, fold, settings, History())[2:5] for fold in inner]
    ids, parts, without = zip(*scored, strict=True)
    scores = {branch: torch.cat([part[branch] for part in parts]) for branch in parts[0]}
    labels = store.labels()
    truth = torch.tensor([labels[clip_id] for clip_ids in ids for clip_id in clip_ids])
    faceless = torch.cat(without)
    every = torch.ones_like(faceless)
    # a clip without a face is answered by its sound alone
    by_both = ~faceless if "audio" in scores and not faceless.all() else every
    with pinned_threads(settings.training.threads):
        pools = {}
        for branch, log_p in scores.items():
            rows = by_both if branch == "av" else every
            pools[branch] = fit_temperature(branch, log_p[rows], truth[rows])
        if settings.fusion.pool and len(scores) > 1:
            both = {branch: log_p[by_both] for branch, log_p in scores.items()}
            pools["av"] = fit_pool(both, truth[by_both]) or pools["av"]
    return pools


def train(
    clips: ClipSet, built: Recipe, settings: Settings, history: History, fold: str
) -> nn.Module:
    """A network trained on `clips` by the phases of its recipe, in eval mode.

    It lies on the chosen device.
    """
    seed = settings.training.seed
    torch.manual_seed(seed)
    network = built.build()
    fit_statistics(network, clips)
    network.to(chosen_device())
    for number, phase in enumerate(built.phases):
        part, on_epoch = phase.part(network), history.record(fold=fold, phase=phase.name)
        read = clips.only(phase.inputs).reading(phase.readers)
        if isinstance(phase.settings, ConvexSettings):
            (batch,) = read.ordered(len(read))
            minimize(part, batch, phase.step, phase.weights, phase.settings, on_epoch)
        else:
            size = phase.batch_size or settings.training.batch_size
            batches = read.shuffled(size, seed + number)
            folder = scratch()
            state = Checkpoint(folder / f"{fold}.{number}", WORTH_KEEPING_S) if folder else None
            fit(part, batches, phase.step, phase.weights, phase.settings, on_epoch, state)
    return network.eval()


@torch.no_grad()
def predict(network: nn.Module, clips: ClipSet, batch_size: int = 16) -> dict[str, Tensor]:
    """Logits [N, K] by branch, in the order of `clips.ids`, computed where the network lies.

    Raises:
        CorpusError: batches came in another order.
        TrainingError: a logit is not finite.
    """
    parts: dict[str, list[Tensor]] = {}
    rows: list[int] = []
    device = device_of(network)
    for batch in clips.ordered(batch_size):
        rows += batch["row"].tolist()
        for branch, logits in network(send_to_device(batch, device)).items():
            parts.setdefault(branch, []).append(logits.cpu())
    if rows != list(range(len(clips))):
        raise CorpusError(f"predictions of rows {rows[:3]}, ... for {len(clips)} clips in order")
    found = {branch: torch.cat(logits) for branch, logits in parts.items()}
    for branch, logits in found.items():
        if not logits.isfinite().all():
            worst = int(logits.isfinite().all(dim=1).int().argmin())
            raise TrainingError(
                f"{clips.ids[worst]}: the answer of branch {branch} is not finite; lower the "
                "learning rate, or check what the network reads of this clip"
            )
    return found


def save_networks(
    out: Path, system: str, store: Store, outcomes: Sequence[Outcome], settings: Settings
) -> None:
    """Write `<fold>.safetensors` for each fold: parameters, and as facts all that rebuilds it.

    A detector that was trained jointly goes to `detector/<fold>.safetensors`, so that a jointly
    trained system is a staged one with another detector.
    """
    with replace_folder(out) as part:
        for outcome in outcomes:
            facts = {
                "system": system,
                "fold": outcome.fold.name,
                "emotions": json.dumps(store.emotions),
                "branches": json.dumps([b for b in BRANCHES if b in outcome.probabilities]),
                "widths": json.dumps(asdict(outcome.widths)),
                "pools": json.dumps(outcome.pools),
                "settings": json.dumps(settings.dump()),
                "training_clips": json.dumps(outcome.fold.train),
            }
            network, name = outcome.network, f"{outcome.fold.name}.safetensors"
            if isinstance(network, JointNet):
                params = detector_params(store.detector / name)
                path = part / JOINT_DETECTORS / name
                save_detector(path, network.detector, params, outcome.fold.train)
                network = network.fusion
            save_safetensors(part / name, network.state_dict(), facts)


def gather(outcomes: Sequence[Outcome], store: Store) -> dict[str, Predictions]:
    """All folds' test clips as predictions by branch; ids are asserted to match at the join.

    Raises:
        CorpusError: a fold was scored on other clips than its test clips.
    """
    for outcome in outcomes:
        counts = {len(one) for one in outcome.probabilities.values()}
        if outcome.clip_ids != outcome.fold.test or counts != {len(outcome.fold.test)}:
            raise CorpusError(
                f"fold {outcome.fold.name}: {sorted(counts)} predictions of "
                f"{len(outcome.clip_ids)} clips, not of its {len(outcome.fold.test)} test clips"
            )
    return _joined([(o.fold.name, o.fold.test, o.probabilities) for o in outcomes], store)


def gather_asked(outcomes: Sequence[Outcome], store: Store) -> dict[str, Predictions]:
    """As `gather`, for the clips without an emotion, which each fold predicts."""
    return _joined([(o.fold.name, o.fold.asked, o.asked) for o in outcomes], store)


def _joined(
    parts: Sequence[tuple[str, tuple[str, ...], dict[str, Floats]]], store: Store
) -> dict[str, Predictions]:
    """Predictions by branch from each fold's name, clip ids and p [N, K] by branch."""
    by_id = {record.clip_id: record for record in store.records}
    records = [by_id[clip_id] for _, clip_ids, _ in parts for clip_id in clip_ids]
    folds = tuple(name for name, clip_ids, _ in parts for _ in clip_ids)
    return {
        branch: _predictions(records, folds, np.concatenate([p[branch] for *_, p in parts]), store)
        for branch in BRANCHES
        if branch in parts[0][2]
    }


def _predictions(
    records: Sequence[ClipRecord], folds: tuple[str, ...], probabilities: Floats, store: Store
) -> Predictions:
    labels = store.labels()
    return Predictions(
        emotions=store.emotions,
        fold=folds,
        clip_id=tuple(record.clip_id for record in records),
        speaker=tuple(record.speaker for record in records),
        sentence=tuple(record.sentence for record in records),
        emotion=np.array([labels[record.clip_id] for record in records]),
        predicted=probabilities.argmax(axis=1),
        confidence=probabilities.max(axis=1),
        probabilities=probabilities,
    )
