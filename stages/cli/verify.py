"""`avemo verify`: read every product, model and cached entry, and say which is damaged."""

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import AvemoError
from pipeline.work.entries import cache_folder, fault, survey
from pipeline.work.integrity import CHECKSUMS, damage, products, require_frames
from pipeline.work.progress import counted, track

MODEL = Path("results/model")


def verify() -> tuple[list[str], str]:
    """Findings, one a line, and what was read, in words."""
    written = products()
    entries = survey(cache_folder())
    findings = [str(one) for one in damage(track(written, desc="products", unit="product"))]
    if CHECKSUMS.is_file():
        findings += _problem(lambda: require_frames(CHECKSUMS.parent))
    if MODEL.is_dir():
        from models.recognition.recognizer import Recognizer

        findings += _problem(lambda: Recognizer.load(MODEL))
    entries = [entry for entry in entries if entry.finished]
    for entry in track(entries, desc="cache", unit="entry"):
        reason = fault(entry.folder, entry.folder.name)
        if reason is not None:
            findings.append(f"{entry.folder}: {reason}; made again when it is needed")
    read = f"{counted(len(written), 'product')}, {len(entries)} entries of the clip cache"
    return findings, read


def _problem(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except AvemoError as error:
        yield str(error)
