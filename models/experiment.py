"""Train and score a system on every fold of a protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.data import ClipSet, Store
from models.losses import log_scores
from models.systems import Recipe, Settings, recipe
from models.temperature import CalibrateParams, fit_temperature, inner_folds
from models.training import History, fit
from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError
from pipeline.progress import track
from pipeline.splits import Fold


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fold left: the network, its temperatures by branch, and rows for the tables."""

    fold: Fold
    network: nn.Module
    temperatures: dict[str, float]
    predictions: list[dict[str, object]]
    history: list[dict[str, object]]


def run_folds(
    system: str,
    store: Store,
    folds: Sequence[Fold],
    settings: Settings,
    calibrate: CalibrateParams,
) -> list[Outcome]:
    """Train and score `system` on each fold.

    Raises:
        CorpusError: the corpus cannot serve the system, or ids do not join.
    """
    return [
        run_fold(store, fold, recipe(system, store, fold, settings), settings, calibrate)
        for fold in track(folds, desc=system, unit="fold")
    ]


def run_fold(
    store: Store, fold: Fold, made: Recipe, settings: Settings, calibrate: CalibrateParams
) -> Outcome:
    """Train on the fold's training clips, calibrate on parts of them, score its test clips."""
    clips = ClipSet(fold.train, store.labels(), made.readers)
    history = History()
    network = train(clips, made, settings, history, fold.name)
    held_out: dict[str, list[Tensor]] = {}
    labels: list[Tensor] = []
    for kept, held in inner_folds(store.records, fold, calibrate):
        inner = train(clips.subset(kept), made, settings, History(), fold.name)
        for branch, logits in predict(inner, clips.subset(held)).items():
            held_out.setdefault(branch, []).append(log_scores(logits))
        labels.append(clips.subset(held).labels())
    temperatures = {
        branch: fit_temperature(torch.cat(scores), torch.cat(labels))
        for branch, scores in held_out.items()
    }
    test = clips.subset(fold.test)
    rows = _rows(store, fold, predict(network, test), temperatures)
    return Outcome(fold, network, temperatures, rows, history.rows)


def train(
    clips: ClipSet, made: Recipe, settings: Settings, history: History, fold: str
) -> nn.Module:
    """A network trained on `clips` by the phases of its recipe, in eval mode."""
    seed = settings.fusion.seed
    torch.manual_seed(seed)
    network = made.assemble(clips)
    for number, phase in enumerate(made.phases):
        fit(
            phase.part(network),
            clips.shuffled(settings.fusion.batch_size, seed + number),
            phase.step,
            phase.weights,
            phase.settings,
            history.record(fold=fold, phase=phase.name),
        )
    return network.eval()


@torch.no_grad()
def predict(network: nn.Module, clips: ClipSet, batch_size: int = 16) -> dict[str, Tensor]:
    """Logits [N, K] by branch, in the order of `clips.ids`."""
    parts: dict[str, list[Tensor]] = {}
    for batch in clips.ordered(batch_size):
        for branch, logits in network(batch).items():
            parts.setdefault(branch, []).append(logits)
    return {branch: torch.cat(logits) for branch, logits in parts.items()}


def _rows(
    store: Store,
    fold: Fold,
    logits: Mapping[str, Tensor],
    temperatures: Mapping[str, float],
) -> list[dict[str, object]]:
    """Rows of `results/predictions.csv`; ids and logits are asserted to match."""
    by_id = {record.clip_id: record for record in store.records}
    rows = []
    for branch, values in logits.items():
        if len(values) != len(fold.test):
            raise CorpusError(
                f"fold {fold.name}: {len(values)} predictions for {len(fold.test)} clips"
            )
        calibrated = log_scores(values) / temperatures.get(branch, 1.0)
        for clip_id, p in zip(fold.test, calibrated.softmax(dim=1), strict=True):
            rows.append(_row(branch, fold, by_id[clip_id], p, store.emotions))
    return rows


def _row(
    branch: str, fold: Fold, record: ClipRecord, p: Tensor, emotions: Sequence[str]
) -> dict[str, object]:
    best = int(p.argmax())
    return {
        "branch": branch,
        "fold": fold.name,
        "clip_id": record.clip_id,
        "speaker": record.speaker,
        "sentence": record.sentence,
        "emotion": record.emotion,
        "predicted": emotions[best],
        "confidence": f"{float(p[best]):.5f}",
        **{f"p_{e}": f"{float(v):.5f}" for e, v in zip(emotions, p, strict=True)},
    }
