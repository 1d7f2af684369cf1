"""Whatever has become of a file, its reader gives what it held or an error of ours, in one line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn_faces import EMOTIONS, TINY, write_voc
from fake_run import make_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import save, zeros

from annotations import voc
from annotations.review import gallery
from annotations.truth import read_truth
from models.checkpoint import load_safetensors, read_state
from models.faces.detector_file import read_detector, save_detector
from models.faces.params import DetectorParams
from models.faces.weights import build_detector
from models.saved_model import PRETRAINED, read_card
from models.systems.inputs import read_speech
from pipeline.clips import read_clips
from pipeline.errors import AvemoError
from pipeline.params import PARAMS_FILE, load_section
from pipeline.report import frames
from pipeline.report.comparison.rows import read_rows
from pipeline.report.run import read_run
from pipeline.scores.predictions import read_predictions
from pipeline.splits import SplitParams
from pipeline.work.closure import PROJECT

DETECTIONS = """\
fold,split,clip_id,frame,rank,score,label,x1,y1,x2,y2,sigma_x1,sigma_y1,sigma_x2,sigma_y2,dlib_x1,\
dlib_y1,dlib_x2,dlib_y2
f1,test,DC_a1,0,0,0.9876,anger,1.00,2.00,30.00,40.00,0.5,0.5,0.5,0.5,1,2,30,41
f1,train,DC_a2,5,1,0.4,fear,1.00,2.00,30.00,40.00,0.5,0.5,0.5,0.5,,,,
"""
CLIPS = """\
clip_id,speaker,emotion,sentence,frames,fps,frame_step,width_px,height_px,samples,rate_hz,rank,\
twin,polarity,picture_start_s,sound_start_s
DC_a1,DC,anger,s1,2,25.0,4,320,256,96000,48000,0,,-1,0.0,0.25
JE_a1,JE,"calm, or so",s1,1,25.0,4,320,256,96000,48000,1,t1,0,0.0,0.0
"""

PARTNERS = {
    "model.json": "network.safetensors", "frames.csv": "clips.csv", "clips.csv": "frames.csv",
}  # fmt: skip
"""Files that are read with another one."""

FRAMES = "clip_id,frame,time_s\nDC_a1,0,0.0\nDC_a1,1,0.16\nJE_a1,0,0.04\n"

READERS: dict[str, Callable[[Path], Any]] = {
    "speech.csv": read_speech,
    "clips.csv": read_clips,
    "frames.csv": lambda path: read_clips(path.with_name("clips.csv")),
    "truth.csv": read_truth,
    "detections.csv": lambda path: (frames.read_detections(path), gallery.read_detections(path)),
    "predictions.csv": read_predictions,
    "tables.csv": read_rows,
    "run.json": read_run,
    "model.json": lambda path: read_card(path.parent),
    "params.yaml": lambda path: (
        load_section("split", SplitParams, path), load_section("detector", DetectorParams, path),
    ),
    "weights.safetensors": load_safetensors,
    "weights.pth": read_state,
    "detector.safetensors": read_detector,
    "annotation.xml": voc.read,
}  # fmt: skip


def write_originals(folder: Path) -> Path:
    """A file for each reader, as a run leaves it."""
    results = make_run(folder)
    shutil.copyfile(results / "predictions.csv", folder / "predictions.csv")
    shutil.copyfile(results / "run.json", folder / "run.json")
    shutil.copyfile(PROJECT / PARAMS_FILE, folder / "params.yaml")
    shutil.copyfile(PROJECT / "benchmarks/demo_seeds.csv", folder / "tables.csv")
    shutil.copyfile(PRETRAINED / "model.json", folder / "model.json")
    rows = "clip_id,frame,mouth_motion,speech\nDC_a1,0,0.1,0.5\nDC_a1,1,0.2,1.0\n"
    (folder / "speech.csv").write_text(rows)
    truth = "frame,x1,y1,x2,y2,mouth_open,speech\n0,1.5,2,30,40,0.2,1\n4,1,2,30,40,0.0,0\n"
    (folder / "truth.csv").write_text(truth)
    (folder / "detections.csv").write_text(DETECTIONS)
    (folder / "clips.csv").write_text(CLIPS)
    (folder / "frames.csv").write_text(FRAMES)
    save_file({"a": zeros(3, 2), "b": zeros(1)}, folder / "weights.safetensors", {"emotions": "[]"})
    save({"a": zeros(3, 2), "b": zeros(1)}, folder / "weights.pth")
    save_detector(folder / "detector.safetensors", build_detector(TINY, EMOTIONS), TINY, ["DC_a1"])
    write_voc(folder / "drawn")
    xml = next(folder.glob("drawn/voc/Annotations/*.xml"))
    shutil.copyfile(xml, folder / "annotation.xml")
    return folder


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_originals(tmp_path_factory.mktemp("originals"))


ODD = st.sampled_from(
    [b"", b"\0", b"\xff\xfe", b'"', b"\n", b",", b"-1", b"nan", b"1e999", b"9" * 30, b"[" * 3000,
     b"{", b"}", b": ", b"&a *a", b"!!python/object:os.system", b"\xe2\x80\xa8", b"1_0", b"x" * 999]
)  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_an_untouched_file_is_read(originals, name):
    if name == "model.json":  # beside the files that it names
        read_card(PRETRAINED)
    else:
        assert READERS[name](originals / name)


@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_is_one_line_of_ours(originals, tmp_path, name, data):
    content = bytearray((originals / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        start = data.draw(st.integers(0, len(content)), "start")
        length = data.draw(st.sampled_from([0, 1, 1, 2, 8, 100, 10**6]), "length")
        content[start : start + length] = data.draw(ODD | st.binary(max_size=4), "put in")
    for beside in ("clips.csv", "frames.csv"):
        shutil.copyfile(originals / beside, tmp_path / beside)
    path = tmp_path / name
    path.write_bytes(content)
    try:
        READERS[name](path)
    except AvemoError as error:
        message = str(error)
        named = (name, PARTNERS.get(name, name))
        assert any(file in message for file in named), message
        assert "\n" not in message and len(message) < 1000
