"""From trials to rows: the table of systems and the table of ablations."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from models.comparison.boxes import box_study
from models.comparison.runner import Bench, Finished, run_trials
from models.comparison.trials import Trial
from pipeline.errors import CorpusError
from pipeline.report.comparison.ablations import BOXES, STUDIES, Study, box_rows, study_rows
from pipeline.report.comparison.rows import Origin, Row, system_rows
from pipeline.report.comparison.trials import Pooled, read_pooled


def system_table(
    bench: Bench,
    systems: Sequence[str],
    protocols: Sequence[str],
    seeds: Sequence[int],
    origin: Origin,
) -> list[Row]:
    """Run systems under protocols; see `pipeline.report.comparison.rows.system_rows`.

    Raises:
        ParamsError: an unknown name.
        CorpusError: nothing that was asked for can be run, or a product is missing.
    """
    trials = [Trial(s, p, seed) for p in protocols for s in systems for seed in seeds]
    finished = run_trials(bench, trials, "tables")
    _require_some(finished)
    rows: list[Row] = []
    for protocol in protocols:
        groups = {s: [Trial(s, protocol, seed) for seed in seeds] for s in systems}
        rows += system_rows(protocol, *_read(groups, finished), origin)
    return rows


def ablation_table(bench: Bench, protocol: str, seeds: Sequence[int], origin: Origin) -> list[Row]:
    """Run all ablations; see `pipeline.report.comparison.ablations`.

    Raises:
        ParamsError: an unknown protocol.
        CorpusError: the corpus can serve no variant, or a product is missing.
    """
    about = {"protocol": protocol, **asdict(origin)}
    groups = {study.key: _trials(study, protocol, seeds) for study in STUDIES}
    trials = [t for group in groups.values() for own in group.values() for t in own]
    finished = run_trials(bench, trials, "ablations")
    _require_some(finished)
    rows = _boxes(bench, protocol, seeds, about)
    for study in STUDIES:
        rows += study_rows(study, *_read(groups[study.key], finished), about)
    return rows


def _boxes(
    bench: Bench, protocol: str, seeds: Sequence[int], about: Mapping[str, object]
) -> list[Row]:
    if not any(record.has_video for record in bench.store.records):
        why = "no clip of this corpus has video"
        return [{**about, "study": BOXES, "variant": "detector", "absent": why}]
    speakers = {record.clip_id: record.speaker for record in bench.store.records}
    return box_rows(box_study(bench, protocol, seeds), speakers, about)


def _trials(study: Study, protocol: str, seeds: Sequence[int]) -> dict[str, list[Trial]]:
    return {
        variant.name: [Trial(variant.system, protocol, s, variant.overrides) for s in seeds]
        for variant in study.variants
    }


def _read(
    groups: Mapping[str, Sequence[Trial]], finished: Finished
) -> tuple[dict[str, Pooled], dict[str, str]]:
    """Groups of trials pooled over seeds, and why the others are absent."""
    pooled, refused = {}, {}
    for name, trials in groups.items():
        missing = [trial for trial in trials if trial in finished.refused]
        if missing:
            refused[name] = finished.refused[missing[0]]
        else:
            folders: dict[int, Path] = {t.seed: finished.folders[t] for t in trials}
            pooled[name] = read_pooled(folders)
    return pooled, refused


def _require_some(finished: Finished) -> None:
    if not finished.folders:
        raise CorpusError(next(iter(finished.refused.values())))
