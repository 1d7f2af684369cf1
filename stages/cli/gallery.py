"""`avemo gallery`: all frames with their boxes, those to look at first in front."""

from pathlib import Path

from annotations.corrections import find_corrections
from annotations.review.gallery import write_gallery
from pipeline.clips import read_clips
from pipeline.corpora.params import CorpusParams
from pipeline.errors import ParamsError
from pipeline.files import UPLOAD, refuse_address
from pipeline.params import load_section
from pipeline.work.progress import counted

VOC, CLIPS, CORRECTIONS = Path("data/voc"), Path("data/clips.csv"), Path("annotations/corrections")
DETECTIONS = Path("results/detector/detections.csv")
"""As in `dvc.yaml`."""

DEMO_NOTICE = "Demo corpus: the faces are drawn. They say nothing about people."


def gallery(out: Path) -> str:
    """Write the page into a folder and say where it lies.

    Raises:
        ParamsError: the folder is an address.
        CorpusError: there are no clips yet.
    """
    refuse_address(out, "folder", ParamsError, UPLOAD)
    records = read_clips(CLIPS)
    corrected = find_corrections(CORRECTIONS, records, VOC / "JPEGImages")
    notice = DEMO_NOTICE if load_section("corpus", CorpusParams).name == "demo" else ""
    runs = write_gallery(out, records, VOC, corrected, DETECTIONS, notice)
    frames = counted(sum(record.frames for record in records), "frame")
    page = (out / "index.html").absolute().as_uri()
    return f"gallery: {frames} in {counted(runs, 'run')} of alike ones: {page}"
