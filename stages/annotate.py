"""Find faces and speech activity in all stored frames; write VOC annotations.

Inputs: frames, `data/clips.csv`, `data/truth` (empty where the corpus has none).
Outputs: one XML file per frame, `ImageSets/Main`, `labelmap.txt`, `SHA256SUMS` of frames and
annotations, `data/speech.csv`, and `data/annotation_metrics.json`: counts, and agreement with the
truth.
Params: `annotate`, `split`.
"""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from annotations.agreement import describe, measure, read_truth
from annotations.annotate import annotate_corpus, count_faces, write_speech
from annotations.image_sets import write_image_sets, write_labelmap
from annotations.params import AnnotateParams
from pipeline.clips import ClipRecord, read_clips
from pipeline.errors import CorpusError
from pipeline.files import atomic_write, write_checksums
from pipeline.params import load_section
from pipeline.splits import Fold, SplitParams, make_folds
from pipeline.work.progress import print_summary
from stages.cli.boundary import run

log = logging.getLogger(__name__)


def main(
    images: Path,
    clips: Path,
    truth: Path,
    annotations: Path,
    image_sets: Path,
    labelmap: Path,
    checksums: Path,
    speech: Path,
    metrics: Path,
) -> None:
    """Annotate all clips; see the module's docstring."""
    started = time.monotonic()
    records = read_clips(clips)
    folds = _folds(records, load_section("split", SplitParams))
    summaries, cached = annotate_corpus(
        records, images, annotations, load_section("annotate", AnnotateParams)
    )
    write_image_sets(image_sets, records, folds)
    write_labelmap(labelmap)
    write_checksums(checksums, (images, annotations))
    write_speech(speech, summaries)
    figures: dict[str, object] = dict(count_faces(summaries))
    truths = {path.stem: read_truth(path) for path in sorted(truth.glob("*.csv"))}
    if truths:
        figures["truth"] = measure(records, summaries, truths)
    with atomic_write(metrics) as part:
        part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print_summary("annotate", f"{describe(figures)}, {cached} from cache", started)


def _folds(records: Sequence[ClipRecord], params: SplitParams) -> list[Fold]:
    """The folds, none where the clips allow none: faces can be found all the same."""
    try:
        return make_folds(records, params)
    except CorpusError as error:
        log.warning("%s; until then ImageSets has all frames in one list", error)
        return []


if __name__ == "__main__":
    run(main)
