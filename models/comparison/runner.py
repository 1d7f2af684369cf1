"""Many trials beside each other, outside DVC's outs: what `make tables` and `make ablations` run.

Trials are kept in the clip cache by all that they depend on, so that a table resumes where it was
stopped and nothing is trained twice.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from models.comparison.trials import ProtocolStore, Trial, TrialTask, run_trial
from models.device import accelerators, device_facts
from models.expressions.embed import embed_all
from models.faces.folds import DetectPaths, detect
from models.faces.params import DetectorParams
from models.faces.task import DetectorCost
from models.systems.inputs import Store
from models.systems.params import Settings
from pipeline.errors import CorpusError, ParamsError
from pipeline.files import file_digest
from pipeline.params import PARAMS_FILE, Section, validate
from pipeline.report.comparison.rows import Setting
from pipeline.report.comparison.studies import overrides_text
from pipeline.splits import Fold, SplitParams, all_inner_folds, make_folds
from pipeline.systems import SYSTEMS, readable
from pipeline.work.cache import ClipCache, Job

PROTOCOLS: tuple[str, ...] = get_args(SplitParams.model_fields["protocol"].annotation)

MADE_HERE = ("face_features", "face_embeddings", "detector")
"""Products that come from the detectors of a protocol and seed, not from DVC's outs."""

OF_DETECTORS = ("detector.", "inner_folds.", "faces.")
"""Overrides that decide which faces a trial reads, and how they are embedded."""

SEEDED = ("split", "inner_folds", "detector", "training")
"""Sections whose seed is the trial's. Random weights of audio networks are those of `embed.seed`
for all trials, since every clip would be embedded again."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all trials share.

    Attributes:
        store: the products of the stages.
        settings: the sections that systems read.
        split: section `split`; trials state their own protocol and seed.
        detector: section `detector`; trials state their own seed.
        corpus: name of the corpus.
        audio_weights: value of `embed.weights`.
        out: folder for the detectors of each protocol and seed, `results/tables`.
    """

    store: Store
    settings: Settings
    split: SplitParams
    detector: DetectorParams
    corpus: str
    audio_weights: str
    out: Path

    def setting(self, protocol: str) -> Setting:
        """What the rows of a protocol repeat."""
        return Setting(protocol=protocol, corpus=self.corpus, audio_weights=self.audio_weights)


@dataclass(frozen=True, slots=True)
class Finished:
    """Folders of the finished trials, and why the others could not be run."""

    folders: Mapping[Trial, Path]
    refused: Mapping[Trial, str]


def run_trials(setup: Setup, trials: Iterable[Trial], desc: str) -> Finished:
    """Run the trials that are not in the cache yet.

    Systems that the corpus cannot serve are refused before any work; the others run, all on the
    clips that each of them can read.

    Raises:
        ParamsError: an unknown system, protocol or override.
        CorpusError: the corpus does not allow a protocol, or a product is missing.
    """
    tasks, refused = _prepare(setup, list(dict.fromkeys(trials)))
    digests = {path: _digest(path) for path in _read_by(tasks.values())}
    # of a store the digests of the products that the system reads are in the facts of each job
    cache = ClipCache(
        "trials",
        run_trial,
        facts=device_facts(),
        ignore=("store",),
        accelerators=accelerators(),
    )
    jobs = {trial: _job(cache, task, digests) for trial, task in tasks.items()}
    unique = {job.clip_id: job for job in jobs.values()}
    products = cache.run(list(unique.values()), desc, "trial")
    reasons = {reject.clip_id: reject.reason for reject in products.rejects}
    failed = {t: reasons[job.clip_id] for t, job in jobs.items() if job.clip_id in reasons}
    done = {t: products.folders[job.clip_id] for t, job in jobs.items() if t not in failed}
    return Finished(done, {**refused, **failed})


def resolve(setup: Setup, trial: Trial) -> Setup:
    """The setup of a trial: its protocol, its overrides, its seed.

    Raises:
        ParamsError: an unknown key, or a value out of range.
    """
    seeds = [(f"{name}.seed", trial.seed) for name in SEEDED]
    for key, value in (("split.protocol", trial.protocol), *trial.overrides, *seeds):
        name, _, field = key.partition(".")
        holder = setup.settings if hasattr(setup.settings, name) else setup
        before = cast(Section, getattr(holder, name))
        section = validate(name, {**before.model_dump(), field: value}, type(before), PARAMS_FILE)
        own = cast(Any, {name: section})
        if holder is setup:
            setup = replace(setup, **own)
        else:
            setup = replace(setup, settings=replace(setup.settings, **own))
    return setup


def folds_of(setup: Setup, protocol: str, seed: int) -> tuple[Fold, ...]:
    """The folds of a protocol and seed.

    Raises:
        ParamsError: an unknown protocol.
        CorpusError: the clips do not allow it.
    """
    require_known("protocol", [protocol], PROTOCOLS)
    split = setup.split.model_copy(update={"protocol": protocol, "seed": seed})
    return tuple(make_folds(setup.store.records, split))


def require_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a misspelt name.

    Raises:
        ParamsError: a name that is not known.
    """
    for name in names:
        if name not in known:
            raise ParamsError(f"{what}: got {name!r}, expected one of {', '.join(known)}")


def detector_paths(setup: Setup, protocol: str, seed: int, variant: str = "") -> DetectPaths:
    """Where the detectors of a protocol and seed lie, or of a variant; not among DVC's outs."""
    out = setup.out / protocol / str(seed) / variant
    truth = setup.store.data / "truth"
    return DetectPaths(setup.store.voc, truth, out / "detector", out / "face_features")


def require_products(data: Path, names: Iterable[str]) -> None:
    """Refuse to begin without what the stages make.

    Raises:
        CorpusError: a folder or file below `data/` is missing.
    """
    for name in sorted(set(names)):
        path = data / name
        if not path.exists():
            raise CorpusError(f"{path}: missing; run `dvc repro` first")


def _prepare(
    setup: Setup, trials: Sequence[Trial]
) -> tuple[dict[Trial, TrialTask], dict[Trial, str]]:
    """Tasks of the trials that can be run, why the others cannot; detectors are trained here."""
    require_known("system", [trial.system for trial in trials], tuple(SYSTEMS))
    require_known("protocol", [trial.protocol for trial in trials], PROTOCOLS)
    setups = {trial: resolve(setup, trial) for trial in trials}
    places = dict.fromkeys((trial.protocol, trial.seed) for trial in trials)
    folds = {place: folds_of(setup, *place) for place in places}
    refused = _refusals(setup.store, trials)
    able = [trial for trial in trials if trial not in refused]
    names = {name for trial in able for name in _reads(trial.system)}
    if names.intersection(MADE_HERE):
        names.add("voc")
    require_products(setup.store.data, names.difference(MADE_HERE))
    sharing: dict[DetectPaths, dict[Trial, Setup]] = {}
    for trial in able:
        sharing.setdefault(_paths(setup, trial), {})[trial] = setups[trial]
    systems = [SYSTEMS[name] for name in dict.fromkeys(trial.system for trial in able)]
    labelled = [record for record in setup.store.records if record.emotion]
    clips = [record for record in labelled if all(one.can_read(record) for one in systems)]
    if not clips:
        raise CorpusError("tables: no clip can be read by all of the systems; name fewer of them")
    tasks: dict[Trial, TrialTask] = {}
    for paths, group in sharing.items():
        first = next(iter(group))
        own = folds[first.protocol, first.seed]
        store = _store(paths, own, group)
        common = tuple(record.clip_id for record in clips)
        tasks |= {t: TrialTask(t.system, store, own, common, s.settings) for t, s in group.items()}
    return tasks, refused


def _refusals(store: Store, trials: Sequence[Trial]) -> dict[Trial, str]:
    refused = {}
    for trial in trials:
        try:
            readable(trial.system, store.records)
        except CorpusError as error:
            refused[trial] = str(error)
    return refused


def _paths(setup: Setup, trial: Trial) -> DetectPaths:
    """Where the detectors of a trial lie; trials that differ in nothing of theirs share them."""
    changed = tuple(one for one in trial.overrides if one[0].startswith(OF_DETECTORS))
    variant = overrides_text(changed).replace(" ", ",")
    return detector_paths(setup, trial.protocol, trial.seed, variant)


def _store(
    paths: DetectPaths, folds: Sequence[Fold], group: Mapping[Trial, Setup]
) -> ProtocolStore:
    """The store of trials that share their detectors, which are trained where one reads faces.

    Their cache is that of the stage `detect`: what it has trained is not trained again.
    """
    setup = next(iter(group.values()))
    store = setup.store
    costs: Mapping[str, DetectorCost] = {}
    if any("face_features" in _reads(trial.system) for trial in group):
        inner = all_inner_folds(store.records, folds, setup.settings.inner_folds)
        costs = detect(paths, store.records, folds, inner, setup.detector).costs
    own = ProtocolStore(store.records, store.data, paths.results, paths.face_features, costs)
    if any("face_embeddings" in _reads(trial.system) for trial in group):
        embed_all(own.faces, own.voc, own.face_embeddings, setup.settings.faces)
    return own


def _job(cache: ClipCache, task: TrialTask, digests: Mapping[Path, str]) -> Job:
    facts = {
        "clips": [str(record) for record in task.store.records],
        "products": {name: digests[task.store.product(name)] for name in _reads(task.system)},
    }
    job = Job(task.system, task, facts)
    # One id for one piece of work, whatever table asks for it.
    return replace(job, clip_id=f"{task.system} {cache.key(job)}")


def _reads(system: str) -> tuple[str, ...]:
    return SYSTEMS[system].reads


def _read_by(tasks: Iterable[TrialTask]) -> set[Path]:
    return {task.store.product(name) for task in tasks for name in _reads(task.system)}


def _digest(path: Path) -> str:
    """SHA-256 over the names and bytes of a product's files."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.relative_to(path)} {file_digest(file)}\n".encode())
    return found.hexdigest()
