"""Stage `report`: write one self-contained page, and a picture for the README.

Reads the clips, what annotation, detector and fusion measured, and the stored frames; writes
`results/report.html` and `results/overview.png`. Params: `system`, `corpus`, `split`, `embed`,
`detector`, `audio`, `visual`, `fusion`.
"""

import time
from pathlib import Path

from annotations import voc as voc_files
from pipeline.report.frames import Corners, FaceOf
from pipeline.report.overview import overview_figure
from pipeline.report.page import write_report
from pipeline.report.run import Facts, Sources, read_run
from pipeline.work.progress import closing, counted
from stages.cli.boundary import run


def main(
    clips: Path,
    quarantine: Path,
    annotation_metrics: Path,
    voc: Path,
    detector: Path,
    predictions: Path,
    history: Path,
    metrics: Path,
    out: Path,
    overview: Path,
) -> None:
    """Write the report and the overview picture of a finished run."""
    started = time.monotonic()
    sources = Sources(
        clips=clips,
        quarantine=quarantine,
        annotation_metrics=annotation_metrics,
        voc=voc,
        detector=detector,
        predictions=predictions,
        history=history,
        metrics=metrics,
        face_of=faces_in(voc),
    )
    finished = read_run(sources, Facts.read())
    write_report(finished, out)
    overview_figure(finished, overview)
    closing("report", f"{counted(len(finished.main), 'test clip')}, {out}", started)


def faces_in(voc: Path) -> FaceOf:
    """The annotated face of a frame, read when asked for."""

    def face_of(name: str) -> Corners | None:
        path = voc / "Annotations" / f"{name}.xml"
        face = voc_files.read(path).speaker_face if path.is_file() else None
        return (face.box.x1, face.box.y1, face.box.x2, face.box.y2) if face else None

    return face_of


if __name__ == "__main__":
    run(main)
