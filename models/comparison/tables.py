"""From trials to rows: the table of systems and the table of ablations."""

from collections.abc import Mapping, Sequence

from models.comparison.boxes import box_study
from models.comparison.runner import Finished, Setup, require_known, run_trials
from models.comparison.trials import Trial
from models.systems.deviations import deviations
from pipeline.errors import CorpusError
from pipeline.report.comparison.rows import BOXES, MissingVariant, Row, Setting
from pipeline.report.comparison.scoring import box_rows, study_rows, system_rows
from pipeline.report.comparison.seeds import Seeds, read_seeds
from pipeline.report.comparison.studies import STUDIES, STUDY_KEYS

Groups = Mapping[str, Sequence[Trial]]
"""Trials of all seeds by the name of their row."""


def system_table(
    setup: Setup, systems: Sequence[str], protocols: Sequence[str], seeds: Sequence[int]
) -> list[Row]:
    """Run systems under protocols; see `pipeline.report.comparison.scoring.system_rows`.

    Raises:
        ParamsError: an unknown name.
        CorpusError: nothing that was asked for can be run, or a product is missing.
    """
    groups = {p: {s: [Trial(s, p, seed) for seed in seeds] for s in systems} for p in protocols}
    finished = _run(setup, groups, "tables")
    known = {s: deviations(s, setup.settings, setup.detector, setup.audio_weights) for s in systems}
    return [
        row
        for protocol in protocols
        for row in system_rows(setup.setting(protocol), *_by_row(groups[protocol], finished), known)
    ]


def ablation_table(
    setup: Setup, protocol: str, seeds: Sequence[int], keys: Sequence[str]
) -> list[Row]:
    """Run ablations; see `pipeline.report.comparison.studies`.

    Args:
        setup: what all trials share.
        protocol: its name.
        seeds: of splits, detectors and trainings.
        keys: of the studies, see `STUDY_KEYS`.

    Raises:
        ParamsError: an unknown protocol or study.
        CorpusError: the corpus can serve no variant, or a product is missing.
    """
    require_known("study", keys, STUDY_KEYS)
    studies = [study for study in STUDIES if study.key in keys]
    groups = {
        study.key: {
            v.name: [Trial(v.system, protocol, seed, v.overrides) for seed in seeds]
            for v in study.variants
        }
        for study in studies
    }
    setting = setup.setting(protocol)
    finished = _run(setup, groups, "ablations") if groups else Finished({}, {})
    rows = _boxes(setup, setting, seeds) if BOXES in keys else []
    for study in studies:
        rows += study_rows(setting, study, *_by_row(groups[study.key], finished))
    return rows


def _boxes(setup: Setup, setting: Setting, seeds: Sequence[int]) -> list[Row]:
    if any(record.has_video for record in setup.store.records):
        speakers = {record.clip_id: record.speaker for record in setup.store.records}
        return [*box_rows(setting, box_study(setup, setting.protocol, seeds), speakers)]
    absent = MissingVariant(
        protocol=setting.protocol,
        corpus=setting.corpus,
        audio_weights=setting.audio_weights,
        system="detector",
        study=BOXES,
        variant="detector",
        absent="no clip of this corpus has video",
    )
    return [absent]


def _run(setup: Setup, groups: Mapping[str, Groups], desc: str) -> Finished:
    """Run the trials of all groups; one at least."""
    trials = [t for group in groups.values() for own in group.values() for t in own]
    finished = run_trials(setup, trials, desc)
    if not finished.folders:
        raise CorpusError(next(iter(finished.refused.values())))
    return finished


def _by_row(groups: Groups, finished: Finished) -> tuple[dict[str, Seeds], dict[str, str]]:
    """The seeds of each row, and why the others are absent."""
    done, refused = {}, {}
    for name, trials in groups.items():
        reasons = [finished.refused[trial] for trial in trials if trial in finished.refused]
        if reasons:
            refused[name] = reasons[0]
        else:
            done[name] = read_seeds({trial.seed: finished.folders[trial] for trial in trials})
    return done, refused
