"""`avemo predict`: what a saved model says of recordings."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from models.recognizer import Recognition, Recognizer
from pipeline.corpora.index import SOUND_SUFFIXES, VIDEO_SUFFIXES
from pipeline.errors import MediaError
from pipeline.work.progress import track

MEDIA = SOUND_SUFFIXES | VIDEO_SUFFIXES

COLUMNS = ("clip", "emotion", "confidence", "runner_up", "face_share", "branch", "notes")


def main(clips: Sequence[Path], model: Path, as_json: bool, as_csv: bool) -> int:
    """Answer for each recording and print a table, JSON or CSV.

    Args:
        clips: recordings, or folders of them.
        model: folder that the stage `pack` wrote.
        as_json: print a list of `Recognition`, boxes and windows included.
        as_csv: print a row per recording, with all probabilities.

    Returns:
        Exit code: 1 if a recording could not be answered; the others are.

    Raises:
        MediaError: a folder holds no recording.
        WeightsError: the model cannot be read.
    """
    recognizer = Recognizer.load(model)
    answers: list[Recognition] = []
    failed = 0
    for path in track(_recordings(clips), desc="predict", unit="clip"):
        try:
            answers.append(recognizer.predict(path))
        except MediaError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps([answer.to_json() for answer in answers], indent=2))
    elif as_csv:
        print(_csv(answers, recognizer.card.emotions), end="")
    elif answers:
        print(_table(answers))
    return 1 if failed else 0


def _recordings(clips: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in clips:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in MEDIA)
            if not inside:
                raise MediaError(f"{path}: holds no recording; expected {', '.join(sorted(MEDIA))}")
            found += inside
        else:
            found.append(path)
    return found


def _row(answer: Recognition) -> dict[str, str]:
    share = "" if answer.face_share is None else f"{answer.face_share:.2f}"
    notes = [*(["unsure"] if answer.abstains else []), *answer.notes]
    return {
        "clip": answer.file,
        "emotion": answer.emotion,
        "confidence": f"{answer.confidence:.3f}",
        "runner_up": answer.runner_up,
        "face_share": share,
        "branch": answer.branch,
        "notes": "; ".join(notes),
    }


def _table(answers: Sequence[Recognition]) -> str:
    rows = [dict(zip(COLUMNS, COLUMNS, strict=True)), *map(_row, answers)]
    widths = {name: max(len(row[name]) for row in rows) for name in COLUMNS}
    lines = ["  ".join(row[name].ljust(widths[name]) for name in COLUMNS).rstrip() for row in rows]
    return "\n".join(lines)


def _csv(answers: Sequence[Recognition], emotions: Sequence[str]) -> str:
    stream = io.StringIO()
    columns = [*COLUMNS, *(f"p_{name}" for name in emotions)]
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for answer in answers:
        p = {f"p_{name}": f"{answer.probabilities[name]:.5f}" for name in emotions}
        writer.writerow({**_row(answer), **p})
    return stream.getvalue()
