"""`avemo compare`: two runs side by side on the test clips that they share."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import CorpusError
from pipeline.scores.intervals import Interval
from pipeline.scores.paired import Group, Key, PairedRuns, pair
from pipeline.scores.predictions import Predictions, headline, parse_predictions, read_predictions

PREDICTIONS = Path("results/predictions.csv")
"""An out of `dvc.yaml`."""

WORKSPACE = "workspace"

TITLES = {"accuracy": "accuracy (WA)", "uar": "mean recall (UA)", "macro_f1": "macro F1"}
NAMED = 5
"""Clips of only one run that are named; the others are counted."""


class Run(NamedTuple):
    """A run as the user names it, and the predictions of its headline branch."""

    name: str
    branch: str
    predictions: Predictions


def main(first: str, second: str, as_json: bool) -> None:
    """Print how the second run differs from the first.

    Args:
        first: `workspace`, a results folder, a Git revision or the name of a DVC experiment.
        second: as `first`.
        as_json: figures for programs instead of tables.

    Raises:
        CorpusError: a run that is not there, or two that share no test clip.
    """
    runs = read_run(first), read_run(second)
    paired = pair(runs[0].predictions, runs[1].predictions)
    print(json.dumps(_values(runs, paired), indent=2) if as_json else _text(runs, paired))


def read_run(name: str) -> Run:
    """Read a run's predictions.

    Raises:
        CorpusError: there is no such run, its predictions are not in DVC's cache, or no table.
    """
    if name == WORKSPACE:
        path = PREDICTIONS
    elif Path(name).is_dir():
        path = Path(name) / PREDICTIONS.name
    else:
        branches = parse_predictions(io.StringIO(_at_revision(name)), f"{PREDICTIONS} of {name}")
        return _run(name, branches)
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; run `dvc repro`, or name another run")
    return _run(name, read_predictions(path))


def _at_revision(revision: str) -> str:
    """The predictions that DVC or Git keeps for a revision or experiment."""
    import dvc.api  # takes a second
    from dvc.exceptions import DvcException, FileMissingError, PathMissingError
    from dvc.scm import RevError

    try:
        return str(dvc.api.read(str(PREDICTIONS), rev=revision))
    except RevError as error:
        raise CorpusError(
            f"{revision}: no folder, Git revision or DVC experiment of that name; expected one of "
            "these or `workspace`; `dvc exp list -A` lists experiments"
        ) from error
    except (FileMissingError, PathMissingError) as error:
        raise CorpusError(
            f"{PREDICTIONS} of {revision}: neither in Git nor in DVC's cache; `dvc pull` it, or "
            "check the revision out and run `dvc repro`"
        ) from error
    except (DvcException, OSError) as error:
        raise CorpusError(f"{PREDICTIONS} of {revision}: cannot be read: {error}") from error


def _run(name: str, branches: Mapping[str, Predictions]) -> Run:
    branch = headline(branches)
    return Run(name, branch, branches[branch])


def _text(runs: tuple[Run, Run], paired: PairedRuns) -> str:
    names = [run.name for run in runs]
    lines = [
        f"{place}  {run.name}: {len(run.predictions)} test clips, branch {run.branch}"
        for place, run in zip(("first ", "second"), runs, strict=True)
    ]
    lines += [f"{paired.clips} test clips in common", ""]
    if not paired.same_clips:
        lines += ["WARNING: THE TEST SETS DIFFER; all figures below are of the clips in common"]
        lines += [
            f"  only in {name}: {_named(keys)}"
            for name, keys in zip(names, (paired.only_first, paired.only_second), strict=True)
            if keys
        ]
        lines += [""]
    scores = [
        [TITLES[name], _interval(one.first), _interval(one.second), _interval(one.difference, "+")]
        for name, one in paired.scores.items()
    ]
    lines += _table(["", *names, "second - first"], scores)
    lines += [
        "95% intervals: Wilson's with the effective number of clips; of differences Newcombe's",
        "",
        f"clips right in {names[0]} alone: {paired.first_alone}, in {names[1]} alone: "
        f"{paired.second_alone}; exact McNemar test p = {paired.mcnemar_p:.3g}",
    ]
    for title, groups in (("emotion", paired.emotions), ("speaker", paired.speakers)):
        lines += ["", *_where(title, names, groups)]
    return "\n".join(lines)


def _where(title: str, names: Sequence[str], groups: Mapping[str, Group]) -> list[str]:
    """A table of the groups in which the runs have unlike numbers of clips right."""
    unlike = {name: one for name, one in groups.items() if one.first != one.second}
    if not unlike:
        return [f"as many clips of each {title} right in both"]
    body = [
        [name, str(one.clips), str(one.first), str(one.second), f"{one.second - one.first:+d}"]
        for name, one in unlike.items()
    ]
    lines = _table([title, "clips", *(f"right: {name}" for name in names), "difference"], body)
    if len(unlike) < len(groups):
        lines.append(f"as many right in both: {', '.join(n for n in groups if n not in unlike)}")
    return lines


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first one flush left."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *body)
    ]


def _interval(one: Interval, sign: str = "") -> str:
    return f"{one.value:{sign}.3f} [{one.low:{sign}.3f}, {one.high:{sign}.3f}]"


def _named(keys: Sequence[Key]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return f"{len(keys)} ({', '.join(f'{fold}: {clip}' for fold, clip in keys[:NAMED])}{more})"


def _values(runs: tuple[Run, Run], paired: PairedRuns) -> dict[str, object]:
    """The same as `_text` says, for programs."""
    first, second = (
        {"run": run.name, "branch": run.branch, "clips": len(run.predictions)} for run in runs
    )
    return {
        "first": first,
        "second": second,
        "same_test_clips": paired.same_clips,
        **{
            name: {group: one._asdict() for group, one in value.items()}
            if name in ("emotions", "speakers")
            else value
            for name, value in asdict(paired).items()
            if name != "scores"
        },
        "scores": {
            name: {place: asdict(interval) for place, interval in one._asdict().items()}
            for name, one in paired.scores.items()
        },
    }
