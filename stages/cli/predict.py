"""`avemo predict`: what a saved model says of recordings."""

import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from models.recognition.answers import Recognition
from models.recognition.recognizer import Recognizer
from models.saved_model import CARD, PRETRAINED, WORDS
from pipeline.corpora.index import SOUND_SUFFIXES, VIDEO_SUFFIXES, recordings
from pipeline.errors import MediaError, WeightsError
from pipeline.files import UPLOAD, refuse_address, write_rows
from pipeline.work.progress import track

MEDIA = SOUND_SUFFIXES | VIDEO_SUFFIXES

OWN = Path("results/model")
"""Where the stage `pack` leaves a model, as in `dvc.yaml`."""

SHIPPED = "pretrained"
"""What `--model` calls the one that comes with the package."""

DRAWN = (
    "this model has learned from the demo corpus, drawn faces and synthetic voices; its "
    "answers say nothing about people"
)

PRETRAINED_WORDS = (
    "the one that comes with avemo answers: from sound alone, taught by actors of RAVDESS "
    f"(CC BY-NC-SA 4.0, for research); see {PRETRAINED / WORDS}"
)

COLUMNS = ("clip", "emotion", "confidence", "runner_up", "face_share", "branch", "notes")


def main(
    clips: Sequence[Path], model: str, as_json: bool, as_csv: bool, video: Path | None = None
) -> int:
    """Answer for each recording and print a table, JSON or CSV.

    Args:
        clips: recordings, or folders of them.
        model: see `load_model`.
        as_json: print a list of `Recognition`, boxes and windows included.
        as_csv: print a row per recording, with all probabilities.
        video: annotated video to write, or a folder for one per recording.

    Returns:
        Exit code: 1 if a recording could not be answered; the others are.

    Raises:
        MediaError: a folder holds no recording, or `video` is no place for what would be written.
        WeightsError: the model cannot be read.
    """
    named = _recordings(clips)
    videos = _videos(named, video) if video else {}
    recognizer, note = load_model(model)
    if note:
        print(f"note: {note}", file=sys.stderr)
    answers: list[Recognition] = []
    failed = 0
    for path in track(list(named), desc="predict", unit="clip"):
        try:
            answer = recognizer.predict(path, over_time=bool(video), faces=as_json)
            answers.append(answer)
            if video:
                from models.annotated_video import write_annotated_video  # loads its fonts

                write_annotated_video(answer, videos[path])
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


def load_model(named: str) -> tuple[Recognizer, str]:
    """A model, and what a user should know of it before its first answer; "" for nothing.

    Args:
        named: folder that the stage `pack` wrote, or `SHIPPED`; "" takes `OWN`, and where there is
            none the one that comes with the package.

    Raises:
        WeightsError: the model cannot be read.
    """
    folder = model_folder(named)
    recognizer = Recognizer.load(folder)
    if folder == PRETRAINED:
        why = f"{OWN}: no model of your own, so " if not named else ""
        return recognizer, f"{why}{PRETRAINED_WORDS}"
    return recognizer, DRAWN if recognizer.card.corpus == "demo" else ""


def model_folder(named: str) -> Path:
    """Folder of a model; see `load_model`.

    Raises:
        WeightsError: it is named by an address.
    """
    refuse_address(named, "folder", WeightsError)
    own = not named and (OWN / CARD).is_file()
    if named not in ("", SHIPPED) or own:
        return Path(named) if named else OWN
    return PRETRAINED


def _recordings(clips: Sequence[Path]) -> dict[Path, Path]:
    """Each recording, and its name relative to the folder that was given."""
    found: dict[Path, Path] = {}
    for path in clips:
        if path.is_dir():
            inside = [p for p in recordings(path) if p.suffix.lower() in MEDIA]
            if not inside:
                raise MediaError(f"{path}: holds no recording; expected {', '.join(sorted(MEDIA))}")
            found |= {inner: inner.relative_to(path) for inner in inside}
        else:
            refuse_address(path, "file", MediaError)
            found[path] = Path(path.name)
    return found


def _videos(named: dict[Path, Path], out: Path) -> dict[Path, Path]:
    """Where the annotated video of each recording goes."""
    refuse_address(out, "file or folder", MediaError, UPLOAD)
    suffix = out.suffix.lower()
    if suffix == ".mp4" and not out.is_dir():
        if len(named) > 1:
            raise MediaError(f"--video {out}: got {len(named)} recordings, expected a folder")
        return dict.fromkeys(named, out)
    if suffix in MEDIA or out.is_file():
        raise MediaError(f"--video {out}: expected a name that ends in .mp4, or a folder")
    videos = {path: out / name.with_suffix(".mp4") for path, name in named.items()}
    target, count = Counter(videos.values()).most_common(1)[0]
    if count > 1:
        raise MediaError(f"--video {out}: {count} recordings would be written to {target}")
    return videos


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
    p = [{f"p_{name}": f"{one.probabilities[name]:.5f}" for name in emotions} for one in answers]
    write_rows(stream, columns, ({**_row(a), **b} for a, b in zip(answers, p, strict=True)))
    return stream.getvalue()
