"""Find faces and speech activity in all stored frames; write VOC annotations.

Inputs: frames, `data/clips.csv`, `data/truth` (empty where the corpus has none), and the frames
that a person has put right.
Outputs: one XML file per frame, `labelmap.txt`, `SHA256SUMS` of frames and annotations,
`data/speech.csv`, and `data/annotation_metrics.json`: counts, and agreement with the truth.
Params: `annotate`.
"""

import time
from pathlib import Path

from annotations.corrections import require_unedited
from annotations.faces.agreement import describe, measure
from annotations.faces.annotate import annotate_corpus, count_faces, write_speech
from annotations.labels import write_labelmap
from annotations.params import AnnotateParams
from annotations.truth import read_truth
from pipeline.clips import read_clips
from pipeline.files import write_checksums, write_json
from pipeline.params import load_section
from pipeline.work.progress import print_summary
from stages.boundary import run


def main(
    images: Path,
    clips: Path,
    truth: Path,
    corrections: Path,
    annotations: Path,
    labelmap: Path,
    checksums: Path,
    speech: Path,
    metrics: Path,
) -> None:
    """Annotate all clips; see the module's docstring."""
    started = time.monotonic()
    require_unedited(annotations, checksums)
    checksums.unlink(missing_ok=True)  # what they speak of is replaced
    records, params = read_clips(clips), load_section("annotate", AnnotateParams)
    summaries, cached = annotate_corpus(records, images, corrections, annotations, params)
    write_labelmap(labelmap)
    write_checksums(checksums, (images, annotations))
    write_speech(speech, summaries)
    figures: dict[str, object] = dict(count_faces(summaries))
    truths = {path.stem: read_truth(path) for path in sorted(truth.glob("*.csv"))}
    if truths:
        figures["truth"] = measure(records, summaries, truths)
    write_json(metrics, figures)
    print_summary("annotate", f"{describe(figures)}, {cached} from cache", started)


if __name__ == "__main__":
    run(main)
