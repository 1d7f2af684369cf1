"""List which stored frames train and which test, as VOC's readers ask.

Inputs: `data/clips.csv`.
Outputs: `data/voc/ImageSets`, for others that open `data/voc`; our own stages deal the clips
themselves.
Params: `split`.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from annotations.image_sets import write_image_sets
from pipeline.clips import ClipRecord, read_clips
from pipeline.errors import CorpusError
from pipeline.params import load_section
from pipeline.splits import Fold, SplitParams, make_folds
from pipeline.work.progress import counted, print_summary
from stages.boundary import run

log = logging.getLogger(__name__)


def main(clips: Path, image_sets: Path) -> None:
    """Write the lists; see the module's docstring."""
    started = time.monotonic()
    records = read_clips(clips)
    folds = _folds(records, load_section("split", SplitParams))
    write_image_sets(image_sets, records, folds)
    frames = counted(sum(record.frames for record in records), "frame")
    print_summary("image_sets", f"{frames}, {counted(len(folds), 'fold')}", started)


def _folds(records: Sequence[ClipRecord], params: SplitParams) -> list[Fold]:
    """The folds, none where the clips allow none: faces can be found all the same."""
    try:
        return make_folds(records, params)
    except CorpusError as error:
        log.warning("%s; until then ImageSets has all frames in one list", error)
        return []


if __name__ == "__main__":
    run(main)
