"""Many trials beside each other, outside DVC's outs: what `make tables` and `make ablations` run.

Trials are kept in the clip cache by all that they depend on, so that a table resumes where it was
stopped and nothing is trained twice.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from models.comparison.trials import ProtocolStore, Trial, TrialTask, resolve, run_trial
from models.faces.folds import DetectPaths, detect
from models.faces.params import DetectorParams
from models.systems.inputs import Store
from models.systems.params import Settings
from models.training import device_name
from pipeline.errors import CorpusError, ParamsError
from pipeline.files import file_digest
from pipeline.report.comparison.rows import Setting
from pipeline.splits import Fold, SplitParams, all_inner_folds, make_folds
from pipeline.systems import SYSTEMS, require_modalities
from pipeline.work.cache import ClipCache, Job

PROTOCOLS: tuple[str, ...] = get_args(SplitParams.model_fields["protocol"].annotation)

MADE_HERE = ("face_features", "detector")
"""Products that come from the detectors of a protocol, not from DVC's outs."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all trials share.

    Attributes:
        store: the products of the stages.
        settings: the sections that systems read.
        split: section `split`; trials state their own protocol.
        detector: section `detector`.
        corpus: name of the corpus.
        audio_weights: value of `embed.weights`.
        out: folder for the detectors of each protocol, `results/tables`.
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

    Systems that the corpus cannot serve are refused before any work; the others run.

    Raises:
        ParamsError: an unknown system, protocol or override.
        CorpusError: the corpus does not allow a protocol, or a product is missing.
    """
    tasks, refused = _prepare(setup, list(dict.fromkeys(trials)))
    digests = {path: _digest(path) for path in _read_by(tasks.values())}
    # of a store the digests of the products that the system reads are in the facts of each job
    facts = {"device": device_name()}
    cache = ClipCache("trials", run_trial, facts=facts, ignore=("store",))
    jobs = {trial: _job(cache, task, digests) for trial, task in tasks.items()}
    unique = {job.clip_id: job for job in jobs.values()}
    products = cache.run(list(unique.values()), desc, "trial")
    reasons = {reject.clip_id: reject.reason for reject in products.rejects}
    failed = {t: reasons[job.clip_id] for t, job in jobs.items() if job.clip_id in reasons}
    done = {t: products.folders[job.clip_id] for t, job in jobs.items() if t not in failed}
    return Finished(done, {**refused, **failed})


def folds_of(setup: Setup, protocol: str) -> tuple[Fold, ...]:
    """The folds of a protocol.

    Raises:
        ParamsError: an unknown protocol.
        CorpusError: the clips do not allow it.
    """
    require_known("protocol", [protocol], PROTOCOLS)
    split = setup.split.model_copy(update={"protocol": protocol})
    return tuple(make_folds(setup.store.records, split))


def require_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a misspelt name.

    Raises:
        ParamsError: a name that is not known.
    """
    for name in names:
        if name not in known:
            raise ParamsError(f"{what}: got {name!r}, expected one of {', '.join(known)}")


def detector_paths(setup: Setup, protocol: str) -> DetectPaths:
    """Where the detectors of a protocol lie; not among DVC's outs."""
    out = setup.out / protocol
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
    settings = {trial: resolve(setup.settings, trial) for trial in trials}
    folds = {name: folds_of(setup, name) for name in dict.fromkeys(t.protocol for t in trials)}
    refused = _refusals(setup.store, trials)
    able = [trial for trial in trials if trial not in refused]
    names = {name for trial in able for name in _reads(trial.system)}
    if names.intersection(MADE_HERE):
        names.add("voc")
    require_products(setup.store.data, names.difference(MADE_HERE))
    stores = {protocol: _store(setup, protocol, folds[protocol], able) for protocol in folds}
    tasks = {
        trial: TrialTask(
            trial.system, stores[trial.protocol], folds[trial.protocol], settings[trial]
        )
        for trial in able
    }
    return tasks, refused


def _refusals(store: Store, trials: Sequence[Trial]) -> dict[Trial, str]:
    refused = {}
    for trial in trials:
        try:
            require_modalities(trial.system, store.records)
        except CorpusError as error:
            refused[trial] = str(error)
    return refused


def _store(
    setup: Setup, protocol: str, folds: Sequence[Fold], trials: Sequence[Trial]
) -> ProtocolStore:
    """The store of a protocol; its detectors are trained where a trial reads their features.

    Their cache is that of the stage `detect`: what it has trained is not trained again.
    """
    paths = detector_paths(setup, protocol)
    systems = {trial.system for trial in trials if trial.protocol == protocol}
    if any("face_features" in _reads(system) for system in systems):
        records = setup.store.records
        inner = all_inner_folds(records, folds, setup.settings.inner_folds)
        detect(paths, records, folds, inner, setup.detector)
    return ProtocolStore(setup.store.records, setup.store.data, paths.results, paths.face_features)


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
