"""Whatever a stranger's file holds, it is refused in one line that says what to do.

Each case is a file that the test makes, the error that it must give, and a part of its line.
Meanwhile memory is bounded, and nothing may appear beside what the test itself has written.
"""

import csv
import json
import math
import os
import re
import resource
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import safetensors.torch
import soundfile
import torch
from random_model import make_model
from tiny_media import EXTRACT, cut, encode, make_sound, make_video, picture
from torch import nn

from annotations import voc
from annotations.params import AnnotateParams
from annotations.review.exchange import import_corrections
from annotations.truth import read_truth
from models.audio.encoders import PACKAGED
from models.audio.params import EmbedParams, Pooling
from models.audio.speech import SpeechEncoder
from models.checkpoint import load_safetensors, load_strictly, read_state, save_safetensors
from models.expressions.params import FacesParams
from models.faces.params import DetectorParams
from models.faces.weights import build_detector, load_detector
from models.recognition.recognizer import Recognizer
from models.saved_model import CARD, DETECTOR, NETWORK
from models.systems.inputs import read_speech
from pipeline.clips import Clip, ClipRecord, read_clips
from pipeline.corpora.corpus import index_corpus
from pipeline.corpora.params import CorpusParams
from pipeline.errors import (
    AnnotationError,
    AvemoError,
    CorpusError,
    MediaError,
    ParamsError,
    WeightsError,
)
from pipeline.media.decode import ExtractJob, extract_clip
from pipeline.media.params import ExtractParams
from pipeline.params import load_section
from pipeline.scores.predictions import read_predictions
from pipeline.splits import SplitParams, make_folds

ROOT = Path(__file__).parents[1]
SPARE_BYTES = 2 * 2**30
"""What a refusal may take beside what is taken already; frameworks map more than they use."""


@pytest.fixture(autouse=True)
def bounded(tmp_path, monkeypatch):
    """Work in an empty folder, with little memory; nothing is left that the test did not write."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    assert not list(place.iterdir())


def assert_refused(read: Callable[[], Any], error: type[AvemoError], said: str) -> None:
    with pytest.raises(error) as caught:
        read()
    assert type(caught.value) is error
    line = str(caught.value)
    assert said in line, line
    assert "\n" not in line and len(line) < 1000


# ---------------------------------------------------------------- recordings


def header(riff: Path, chunk: bytes, offset: int, value: bytes) -> Path:
    """Overwrite bytes of a chunk's content in a RIFF file."""
    content = bytearray(riff.read_bytes())
    start = content.index(chunk) + len(chunk) + 4 + offset
    content[start : start + len(value)] = value
    riff.write_bytes(content)
    return riff


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def form(path: Path, channels: int, rate_hz: int, bits: int = 16) -> Path:
    """A second of sound whose header states another form, consistently."""
    frame = channels * bits // 8
    facts = struct.pack(
        "<HHIIHH", 1, channels, rate_hz, rate_hz * frame % 2**32, frame % 2**16, bits
    )
    return header(wav(path), b"fmt ", 0, facts)


def samples(path: Path, values: Any, subtype: str = "FLOAT", rate_hz: int = 16_000) -> Path:
    soundfile.write(path, np.asarray(values), rate_hz, subtype=subtype)
    return path


def avi(path: Path) -> Path:
    return make_video(path, seconds=1)


def raw(path: Path) -> Path:
    return encode(path, *picture(1), "-c:v", "rawvideo")


def wav(path: Path) -> Path:
    return make_sound(path, seconds=1, rate_hz=16_000)


MP4_BOX_OF_TERABYTES = struct.pack(">I4sQ", 1, b"mdat", 2**62)

RECORDINGS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zeros.avi": (lambda p: written(p, bytes(100_000)), "not a recording"),
    "zeros.wav": (lambda p: written(p, bytes(100_000)), "not a recording"),
    "noise.mp4": (lambda p: written(p, np.random.default_rng(0).bytes(50_000)), "not a recording"),
    "noise.mp3": (lambda p: written(p, b"\xff\xfb" + bytes(5_000)), "not a recording"),
    "html.mp4": (lambda p: written(p, b"<!DOCTYPE html><html>404</html>" * 50), "not a recording"),
    "xml.wav": (lambda p: written(p, b"<?xml version='1.0'?><a/>" * 50), "not a recording"),
    "zip.avi": (lambda p: written(p, b"PK\3\4" + bytes(2_000)), "not a recording"),
    "magic.avi": (lambda p: written(p, b"RIFF\xff\xff\xff\xffAVI "), "not a recording"),
    "magic.wav": (lambda p: written(p, b"RIFF\xff\xff\xff\xffWAVEfmt "), "not a recording"),
    "magic.flac": (lambda p: written(p, b"fLaC"), "not a recording"),
    "magic.ogg": (lambda p: written(p, b"OggS"), "not a recording"),
    "magic.mkv": (lambda p: written(p, b"\x1a\x45\xdf\xa3"), "not a recording"),
    "magic.mp4": (lambda p: written(p, b"\0\0\0\x18ftypisom"), "not a recording"),
    "huge_box.mp4": (lambda p: written(p, MP4_BOX_OF_TERABYTES + bytes(500)), "not a recording"),
    "hls.mp4": (lambda p: written(p, b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "no"),
    "sdp.avi": (lambda p: written(p, b"v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 127.0.0.1\n"), "no"),
    "subtitles.avi": (lambda p: written(p, b"1\n00:00:00,0 --> 00:00:01,0\nhi\n"), "no"),
    "still.mp4": (lambda p: written(p, png()), "lasts"),
    "no_channels.wav": (lambda p: form(p, 0, 16_000), "0 channels at 16000 Hz, expected 1 to 64"),
    "65535_channels.wav": (lambda p: form(p, 65_535, 16_000), "0 channels at"),
    "255_channels.wav": (lambda p: form(p, 255, 16_000), "255 channels at 16000 Hz, expected"),
    "0_hz.wav": (lambda p: form(p, 1, 0), "not a recording"),
    "4_ghz.wav": (lambda p: form(p, 1, 2**32 - 1), "not a recording"),
    "2_ghz.wav": (lambda p: form(p, 1, 2**31 - 1), "2147483647 Hz"),
    "0_bits.wav": (lambda p: form(p, 1, 16_000, 0), "no"),
    "gigabytes.wav": (lambda p: header(wav(p), b"data", -4, b"\0\0\0\x60"), "cut short"),
    "empty.wav": (lambda p: samples(p, np.zeros(0)), "no sound in a sound file"),
    "nan.wav": (lambda p: samples(p, [0.5, np.nan] * 4_000), "NaN or infinity"),
    "infinite.wav": (lambda p: samples(p, [0.5, np.inf] * 4_000), "NaN or infinity"),
    "overflowing.wav": (lambda p: samples(p, [1e300, 1] * 4_000, "DOUBLE"), "NaN or infinity"),
    "faint.wav": (lambda p: samples(p, np.full(8_000, 1e-9)), "digital silence"),
    "slow.avi": (lambda p: header(avi(p), b"strh", 20, struct.pack("<II", 10**9, 1)), "a second"),
    "fast.avi": (lambda p: header(avi(p), b"strh", 20, struct.pack("<II", 1, 10**9)), "a second"),
    "frames.avi": (lambda p: header(avi(p), b"strh", 32, b"\0\0\0\x10"), "cut short"),
    "wide.avi": (lambda p: header(raw(p), b"strf", 4, b"\0\0\1\0"), "65536 x 48 px"),
    "0_px.avi": (lambda p: header(raw(p), b"strf", 4, bytes(8)), "no"),
}  # fmt: skip


def png() -> bytes:
    return cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording(tmp_path, name):
    make, said = RECORDINGS[name]
    path = make(tmp_path / name)
    sound = path.suffix in (".wav", ".mp3", ".flac", ".ogg")
    clip = Clip("a", "DC", "anger", "", None if sound else path, path if sound else None)
    (tmp_path / "out").mkdir()
    job = ExtractJob(clip, True, True, EXTRACT)
    refusal = f"{name}: {said}" if "not a" in said else said
    assert_refused(lambda: extract_clip(job, tmp_path / "out"), MediaError, refusal)


# ---------------------------------------------------------------- tables

CLIPS = (
    "clip_id,speaker,emotion,sentence,frames,fps,frame_step,width_px,height_px,samples,rate_hz,"
    "rank,twin,polarity,picture_start_s,sound_start_s\n"
    "DC_a1,DC,anger,s1,2,25.0,4,320,256,96000,48000,0,,-1,0.0,0.25\n"
)
TIMES = "clip_id,frame,time_s\nDC_a1,0,0.0\nDC_a1,1,0.16\n"
PREDICTIONS = (
    "branch,fold,clip_id,speaker,sentence,emotion,predicted,confidence,p_anger,p_fear\n"
    "av,f1,DC_a1,DC,s1,anger,anger,0.7,0.7,0.3\n"
)
SPEECH = "clip_id,frame,mouth_motion,speech\nDC_a1,0,0.1,0.5\n"
TRUTH = "frame,x1,y1,x2,y2,mouth_open,speech\n0,1,2,30,40,0.2,1\n"


def clips_beside(path: Path) -> object:
    return read_clips(path.with_name("clips.csv"))


STAGE_TABLES: list[tuple[str, Callable[[Path], Any], dict[str, str], str, str, str]] = [
    ("clips.csv", read_clips, {"frames.csv": TIMES}, CLIPS, old, new, said)
    for old, new, said in [
        ("DC_a1,", "../../x,", "clip '../../x' of 'DC', expected names without folders"),
        ("DC_a1,", "/etc/passwd,", "expected names without folders"),
        ("DC_a1,", ",", "expected names without folders"),
        (",DC,", ",..\\x,", "expected names without folders"),
        (",2,25.0", ",1000000000000,25.0", "2 times for 1000000000000 frames"),
        (",2,25.0", ",-2,25.0", "frames is -2, expected 0 or more"),
        (",2,25.0", f",{'9' * 5000},25.0", "Exceeds the limit"),
        (",25.0,", ",0.0,", "fps and frame_step are not above 0"),
        (",25.0,", ",inf,", "got inf, expected a finite number"),
        (",25.0,4", ",25.0,0", "fps and frame_step are not above 0"),
        (",320,", ",-320,", "width_px is -320, expected 0 or more"),
        (",96000,", ",-1,", "samples is -1, expected 0 or more"),
        (",48000,", ",0,", "rate_hz is not above 0"),
        (",-1,0.0", ",-7,0.0", "polarity is -7, expected -1, 0 or 1"),
        ("anger", '"anger', "unexpected end of data"),
        ("anger", "x" * 200_000, "field larger than field limit"),
        ("DC_a1,", "DC\0a1,", "expected names without folders"),
    ]
] + [
    ("frames.csv", clips_beside, {"clips.csv": CLIPS}, TIMES, *case)
    for case in [
        ("0.16", "-0.16", "frame 1 at -0.16 s, expected after 0.0 s"),
        ("0.16", "0.0", "frame 1 at 0.0 s, expected after 0.0 s"),
        ("0.16", "nan", "got nan, expected a finite number"),
        ("DC_a1,1", "DC_a1,7", "frame 7, expected 1"),
        ("DC_a1,1", "DC_a1,one", "invalid literal"),
    ]
] + [
    ("predictions.csv", read_predictions, {}, PREDICTIONS, *case)
    for case in [
        ("0.7,0.3", "-1,2", "got -1, expected a probability, 0 to 1"),
        (",0.7,0.7", ",7,0.7", "got 7, expected a probability, 0 to 1"),
        ("p_fear", "p_anger", "column p_anger twice"),
        ("anger,anger", "anger,=1+1", "emotion '=1+1' has no p_ column"),
        (PREDICTIONS, "", "no column branch"),
        ("av,f1", "av", "another number of entries"),
    ]
] + [
    ("speech.csv", read_speech, {}, SPEECH, *case)
    for case in [
        ("0.5", "1.5", "speech is 1.5, expected 0 to 1"),
        ("0.5", "nan", "got nan, expected a finite number"),
        ("DC_a1,0", "DC_a1,0.5", "invalid literal for int"),
    ]
] + [
    ("truth.csv", read_truth, {}, TRUTH, *case)
    for case in [
        ("30,40", "1,40", "box 1,2 to 1,40 px is not a box"),
        ("30,40", "inf,40", "got inf"),
        ("0,1,2", "zero,1,2", "invalid literal for int"),
    ]
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "read", "beside", "text", "old", "new", "said"),
    STAGE_TABLES,
    ids=[f"{case[0]}-{case[-1][:30]}" for case in STAGE_TABLES],
)
def test_a_table_of_a_stage(tmp_path, name, read, beside, text, old, new, said):
    for other, content in beside.items():
        (tmp_path / other).write_text(content)
    path = tmp_path / name
    path.write_text(text)
    read(path)
    path.write_text(text.replace(old, new))
    assert_refused(lambda: read(path), CorpusError, said)


RECORDS = [
    ("DC_a1", "DC", "anger"), ("DC_f1", "DC", "fear"), ("JE_a1", "JE", "anger"),
    ("JE_f1", "JE", "fear"),
]  # fmt: skip
SPLIT = {
    "protocol": "folds", "test_per_emotion": 1, "speaker_groups": 0, "text_groups": 2, "seed": 0,
}  # fmt: skip
CORPUS = {
    "name": "folder", "modalities": "auto", "require": "any", "emotions": "auto",
    "label_source": "acted",
}  # fmt: skip


def folds_of(path: Path) -> object:
    rest = ("", 0, 0.0, 1, 0, 0, 16_000, 16_000)
    records = [ClipRecord(*names, *rest) for names in RECORDS]
    return make_folds(records, SplitParams(folds_csv=path, **SPLIT))


def clips_of(path: Path) -> object:
    for name in ("a.wav", "b.wav"):
        (path.parent / name).touch()
    return index_corpus(CorpusParams(root=path.parent, **CORPUS))


def votes_of(path: Path) -> object:
    (path.parent / "1001_DFA_ANG_XX.wav").touch()
    changed = {"name": "cremad", "label_source": "crowd"}
    return index_corpus(CorpusParams(root=path.parent, **{**CORPUS, **changed}))


PEOPLES_TABLES: list[tuple[str, Callable[[Path], object], bytes, str]] = [
    ("folds.csv", folds_of, b"", "got columns (none), expected clip_id,fold or speaker,fold"),
    ("folds.csv", folds_of, b"\0" * 1000, "neither UTF-8, UTF-16 with a mark nor cp1252"),
    ("folds.csv", folds_of, b"\xff\xfecli", "neither UTF-8, UTF-16 with a mark nor cp1252"),
    ("folds.csv", folds_of, b"clip_id,fold\nDC_a1,../../x\n", "got '../../x', expected a name"),
    ("folds.csv", folds_of, b"clip_id,fold\nDC_a1,=1+1\n", "got '=1+1', expected a name"),
    ("folds.csv", folds_of, b"clip_id,fold\nDC_a1,f\nXX_a9,g\n", "1 unknown clip ids ['XX_a9']"),
    ("folds.csv", folds_of, b"speaker,fold\nDC,f\nJE,f\n", "0 clips to train on and 4 to test"),
    ("folds.csv", folds_of, b"speaker,fold\nDC,f," + b"x" * 200_000, "not a table (field larger"),
    ("folds.csv", folds_of, b"speaker,fold,fold\nDC,f,g\n", "column 'fold' stands there twice"),
    ("clips.csv", clips_of, b"", "got columns (none), expected emotion and one of video and"),
    ("clips.csv", clips_of, b"audio\na.wav\n", "got columns audio, expected emotion and one of"),
    ("clips.csv", clips_of, b"PK\3\4" + bytes(500), "neither UTF-8, UTF-16 with a mark nor"),
    ("clips.csv", clips_of, b"audio,emotion\na.wav,anger,x\n", "got 3 entries, expected 2"),
    ("clips.csv", clips_of, b"audio,emotion\na.wav,zorn\n", "auto knows anger,"),
    (
        "clips.csv", clips_of, b"audio,emotion,polarity\na.wav,anger,evil\n",
        "polarity of anger: got 'evil', expected one of positive, negative, neutral",
    ),
    ("summaryTable.csv", votes_of, b"", "got columns (none), expected FileName and MultiModalVote"),
    ("summaryTable.csv", votes_of, b"\x81\x8d", "neither UTF-8, UTF-16 with a mark nor cp1252"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "read", "content", "said"),
    PEOPLES_TABLES,
    ids=[f"{case[0]}-{case[-1][:30]}" for case in PEOPLES_TABLES],
)
def test_a_table_of_a_person(tmp_path, name, read, content, said):
    path = tmp_path / "corpus" / name
    path.parent.mkdir()
    path.write_bytes(content)
    assert_refused(lambda: read(path), CorpusError, said)


# ---------------------------------------------------------------- names

NAMES = [
    ("../secret.wav", "lies outside"),
    ("sub/../../secret.wav", "lies outside"),
    ("/etc/hostname", "lies outside"),
    ("file:///etc/passwd", "no such file"),
    ("https://example.org/a.wav", "no such file"),
    ("a.wav|rm -rf ~", "no such file"),
    ("concat:a.wav|b.wav", "no such file"),
    ("x" * 300 + ".wav", "no such file"),
    ("%2e%2e/secret.wav", "no such file"),
    (".", "no such file"),
]


@pytest.mark.parametrize(
    ("name", "said"), NAMES, ids=[said[:9] + name[:20] for name, said in NAMES]
)
def test_a_name_in_a_table_refuses_its_row_alone(tmp_path, name, said):
    root = tmp_path / "corpus"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.wav").touch()
    for other in ("a.wav", "b.wav"):
        (root / other).write_text(other)
    with (root / "clips.csv").open("w", newline="") as stream:
        rows = [("audio", "emotion"), ("a.wav", "anger"), (name, "fear"), ("b.wav", "fear")]
        csv.writer(stream).writerows(rows)
    index = index_corpus(CorpusParams(root=root, **CORPUS))
    assert [clip.audio for clip in index.clips] == [root / "a.wav", root / "b.wav"]
    (reject,) = index.rejects
    assert said in reject.reason and f"{root / 'clips.csv'} line 3: " in reject.reason
    assert re.fullmatch("[A-Za-z0-9_-]+", reject.clip_id)


# ---------------------------------------------------------------- annotations

FRAME = "DC_a1_00000"
XML = (
    f"<annotation><filename>{FRAME}.jpg</filename><size><width>320</width><height>256</height>"
    "<depth>3</depth></size><object><name>face</name><bndbox><xmin>11</xmin><ymin>21</ymin>"
    "<xmax>100</xmax><ymax>120</ymax></bndbox></object></annotation>"
)
ANNOTATIONS = [
    ("<width>320", "<width>-320", "size is -320x256"),
    ("<width>320", "<width>99999999", "size is 99999999x256"),
    ("<width>320", "<width>nan", "width: got 'nan', expected a number"),
    ("<depth>3", "<depth>3.5", "depth: got '3.5', expected a whole number"),
    ("<xmin>11", "<xmin>1e400", "xmin: got '1e400', expected a number"),
    ("<xmin>11", "<xmin>\uff11", "xmin: got '\uff11', expected a number"),
    ("<xmin>11", "<xmin>0x0b", "xmin: got '0x0b', expected a number"),
    ("<xmin>11", "<xmin>1_1", "xmin: got '1_1', expected a number"),
    ("<xmin>11", "<xmin>500", "is not a box"),
    ("<xmin>11</xmin>", "", "<bndbox/xmin> is missing or empty"),
    ("<name>face", "<name><b/>face", "<name> holds <b>, expected plain text"),
    (f"<filename>{FRAME}", "<filename>../../x", "filename: got '../../x.jpg'"),
    ("<annotation>", "<?xml version='1.0' encoding='x'?><annotation>", "not XML"),
    ("<annotation>", "<html>", "not XML"),
    ("</annotation>", "", "not XML"),
    (XML, '{"annotation": {}}', "not XML"),
    (XML, "<html/>", "got <html>, expected VOC's <annotation>"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), ANNOTATIONS, ids=[c[1][:24] for c in ANNOTATIONS])
def test_an_annotation(tmp_path, old, new, said):
    path = tmp_path / f"{FRAME}.xml"
    path.write_text(XML)
    voc.read(path)
    path.write_text(XML.replace(old, new))
    assert_refused(lambda: voc.read(path), AnnotationError, said)


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in files.items():
            stream.writestr(name, content)
    return path


ARCHIVES: list[tuple[str, Callable[[Path], Path], str]] = [
    ("none", lambda p: p, "neither a folder nor a readable .zip"),
    ("text", lambda p: written(p, b"hello"), "neither a folder nor a readable .zip"),
    ("cut", lambda p: cut(archive(p, **{"a.xml": XML.encode()}), 0.6), "nor a readable .zip"),
    ("empty", archive, "no annotation of a stored frame"),
    ("bomb", lambda p: archive(p, **{"a.xml": bytes(2 * voc.MAX_BYTES)}), "a.xml: too large"),
    ("escape", lambda p: archive(p, **{"../../a.xml": b"<x/>"}), "a.xml: line 1: got <x>, ex"),
    ("doubled", lambda p: archive(p, **{
        f"a/{FRAME}.xml": XML.encode(), f"b/{FRAME}.xml": XML.encode(),
    }), f"a second annotation of {FRAME}"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "make", "said"), ARCHIVES, ids=[one[0] for one in ARCHIVES])
def test_an_archive_of_annotations(tmp_path, kind, make, said):
    source = make(tmp_path / "back.zip")
    params = load_section("annotate", AnnotateParams, ROOT / "params.yaml")
    record = ClipRecord("DC_a1", "DC", "anger", "", 2, 25.0, 1, 320, 256, 0, 0)
    store, corrections = tmp_path / "voc", tmp_path / "corrections"
    assert_refused(
        lambda: import_corrections(source, store, corrections, [record], params),
        AnnotationError,
        said,
    )
    assert {path.name for path in tmp_path.iterdir()} <= {"back.zip", "elsewhere"}


# ---------------------------------------------------------------- params.yaml

SECTIONS = {
    "extract": ExtractParams, "split": SplitParams, "detector": DetectorParams,
    "embed": EmbedParams, "corpus": CorpusParams, "faces": FacesParams,
}  # fmt: skip
PARAMS = [
    ("extract", "frame_step: 2", "frame_step: 0", "extract.frame_step: got 0"),
    ("extract", "frame_step: 2", "frame_step: 2e9", "extract.frame_step: got 2000000000"),
    ("extract", "max_duration_s: 120", "max_duration_s: .inf", "extract.max_duration_s: got inf"),
    ("extract", "jpeg_quality: 3", "jpeg_quality: [3]", "extract.jpeg_quality: got [3]"),
    ("extract", "silence_dbfs: -80", "silence_dbfs: 3", "extract.silence_dbfs: got 3"),
    ("extract", "frame_step: 2", "frame_step: !!python/name:os.x", "not valid YAML (could"),
    ("split", "protocol: paper", "protocol: Paper", "split.protocol: got 'Paper', expected"),
    ("split", "folds_csv: folds.csv", "folds_csv: ~/folds.csv", "write the whole path"),
    ("split", "folds_csv: folds.csv", f"folds_csv: {'x' * 300}", "no file has a name of so many"),
    ("split", "folds_csv: folds.csv", 'folds_csv: "a\\0b"', "no file has a name of so many"),
    ("detector", "batch: 8", "batch: -8", "detector.batch: got -8"),
    ("detector", "weights: untrained", "weights: ''", "detector.weights: got ''"),
    ("detector", "lr: 0.001 ", "lr: .inf ", "detector.lr: got inf; Input should be a finite"),
    ("detector", "epochs: 4 ", "epochs: *nowhere ", "not valid YAML (found undefined alias"),
    ("embed", "layers: [1, 2, 3]", "layers: [-1]", "embed.layers.0: got -1"),
    ("embed", "layers: [1, 2, 3]", "layers: {1: 2}", "embed.layers: got"),
    ("corpus", "emotions: auto", "emotions: [joy, JOY]", "expected auto, or a list of two names"),
    ("corpus", "emotions: auto", "emotions: [joy, \"a\\nb\"]", "expected auto, or a list of two"),
    ("corpus", "  root: data/demo", "\troot: data/demo", "not valid YAML"),
    ("faces", "margin: 0.1", "margin: 1e400", "faces.margin: got inf"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "old", "new", "said"), PARAMS, ids=[c[2][:30] for c in PARAMS])
def test_params(tmp_path, section, old, new, said):
    path, text = tmp_path / "params.yaml", (ROOT / "params.yaml").read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert_refused(lambda: load_section(section, SECTIONS[section], path), ParamsError, said)


# ---------------------------------------------------------------- weights


def tensors(path: Path, **values: Any) -> Path:
    """A file of a layer's weights, some of them changed; `.pth` or `.safetensors`."""
    state = {"weight": torch.ones(3, 2), "bias": torch.ones(3), **values}
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_safetensors(path, state)
    return path


def stated(path: Path, header: object, data: bytes = bytes(36)) -> Path:
    """A `.safetensors` with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return written(path, struct.pack("<Q", len(text)) + text + data)


def pickled(path: Path) -> Path:
    """A `.pth` whose archive is compressed, to a thousandth of what it holds."""
    torch.save({"weight": torch.zeros(10_000_000)}, path.with_suffix(".whole"))
    with zipfile.ZipFile(path.with_suffix(".whole")) as whole:
        return archive(path, **{name: whole.read(name) for name in whole.namelist()})


def shape(*size: int, kind: str = "F32", end: int = 36) -> dict[str, object]:
    return {"weight": {"dtype": kind, "shape": size, "data_offsets": [0, end]}}


HUGE = torch.zeros(1).expand(10**12)
NAN = torch.tensor([1, float("nan"), 1])
WEIGHTS: list[tuple[str, Callable[[Path], Path], str]] = [
    ("text.safetensors", lambda p: written(p, b"weights go here"), "cannot be read as safetensors"),
    ("claim.safetensors", lambda p: written(p, b"\xff" * 8 + b"{}"), "cannot be read as"),
    ("huge.safetensors", lambda p: stated(p, shape(10**12)), "cannot be read as safetensors"),
    ("overflow.safetensors", lambda p: stated(p, shape(2**62, 8)), "cannot be read as safetensors"),
    ("beyond.safetensors", lambda p: stated(p, shape(3, 3, end=999)), "cannot be read as"),
    ("kind.safetensors", lambda p: stated(p, shape(9, kind="F31")), "cannot be read as"),
    ("list.safetensors", lambda p: stated(p, []), "cannot be read as safetensors"),
    ("deep.safetensors", lambda p: stated(p, b"[" * 100_000), "cannot be read as safetensors"),
    ("facts.safetensors", lambda p: stated(p, {"__metadata__": {"avemo": "{"}}, b""), "cannot be"),
    ("fact.safetensors", lambda p: stated(p, {"__metadata__": {"avemo": "[]"}}, b""), "of texts"),
    ("numbers.safetensors", lambda p: stated(p, {"__metadata__": {"avemo": '{"a": 1}'}}, b""),
     "its facts are not a mapping of texts"),
    ("nan.safetensors", lambda p: tensors(p, bias=NAN), "bias holds numbers that are not finite"),
    ("more.safetensors", lambda p: tensors(p, bias=torch.full((3,), 1e300, dtype=torch.float64)),
     "bias holds numbers that are not finite"),
    ("whole.safetensors", lambda p: tensors(p, bias=torch.ones(3).int()),
     "bias is torch.int32, expected torch.float32"),
    ("complex.pth", lambda p: tensors(p, bias=torch.ones(3) + 1j), "bias is torch.complex64"),
    ("nan.pth", lambda p: tensors(p, bias=NAN), "bias holds numbers that are not finite"),
    ("large.pth", lambda p: tensors(p, bias=HUGE), "bias is [1000000000000], expected [3]"),
    ("name.pth", lambda p: written(p, tensors(p).read_bytes().replace(b"bias", b"bi/s")), ""),
    ("sparse.pth", lambda p: tensors(p, bias=torch.ones(3).to_sparse()), "cannot be read as"),
    ("meta.pth", lambda p: tensors(p, bias=torch.ones(3, device="meta")), "expected a dict of"),
    ("text.pth", lambda p: written(p, b"weights go here"), "refused, reading it would run code"),
    ("zip.pth", lambda p: archive(p, **{"a/data.pkl": b"\x80\x02}."}), "cannot be read as a check"),
    ("no_zip.pth", lambda p: written(p, b"PK\3\4" + bytes(500)), ""),
    ("bomb.pth", pickled, "would unpack to 40"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "said"), WEIGHTS, ids=[one[0] for one in WEIGHTS])
def test_weights(tmp_path, name, make, said):
    path = make(tmp_path / name)
    assert_refused(
        lambda: load_strictly(nn.Linear(2, 3), read_state(path), path), WeightsError, said
    )


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


DETECTOR_FACTS = [
    ("origin", "the moon", "origin: got 'the moon'; Input should be 'untrained', 'imagenet'"),
    ("origin", "", "origin: got ''"),
    ("params", "{", "params: got '{'; Invalid JSON"),
    ("params", "[]", "params: got []"),
    ("params.lr", math.nan, "params.lr: got nan"),
    ("params.backbone", "vgg", "params.backbone: got 'vgg'"),
    ("params.min_size_px", 10**9, "params.min_size_px: got 1000000000"),
    ("classes", "[]", "classes: got []"),
    ("classes", '"anger"', "classes: got 'anger'"),
    ("classes", "[1, 2]", "classes.0: got 1"),
    ("trained_on", "{}", "trained_on: got {}"),
    ("trained_on", None, "its facts are ['classes', 'origin', 'params']"),
]


@pytest.mark.parametrize(
    ("fact", "value", "said"), DETECTOR_FACTS, ids=[f"{c[0]}-{c[2][:30]}" for c in DETECTOR_FACTS]
)
def test_a_detector(tmp_path, model, fact, value, said):
    facts = load_safetensors(model / DETECTOR)[1]
    name, _, key = fact.partition(".")
    facts[name] = json.dumps({**json.loads(facts[name]), key: value}) if key else value
    path = tmp_path / DETECTOR
    known = {name: text for name, text in facts.items() if text is not None}
    save_safetensors(path, {"weight": torch.ones(1)}, known)
    assert_refused(lambda: load_detector(path), WeightsError, said)


def test_a_detector_of_nan(tmp_path, model):
    state, facts = load_safetensors(model / DETECTOR)
    name = next(name for name, value in state.items() if value.is_floating_point())
    state[name] = torch.full_like(state[name], torch.nan)
    path = tmp_path / DETECTOR
    save_safetensors(path, state, facts)
    assert_refused(lambda: load_detector(path), WeightsError, "numbers that are not finite")
    params = DetectorParams.model_validate_json(facts["params"])
    params = params.model_copy(update={"weights": str(path)})
    assert_refused(lambda: build_detector(params, ("a", "b")), WeightsError, "that are not finite")


# ---------------------------------------------------------------- speech encoders

CONFIG, HEARING, NUMBERS = "config.json", "preprocessor_config.json", "model.safetensors"
ENCODERS: list[tuple[str, object, str]] = [
    (CONFIG, b"{", "not a speech encoder that transformers can read"),
    (CONFIG, {"model_type": "moon"}, "not a speech encoder that transformers can read"),
    (CONFIG, {"model_type": "moon", "auto_map": {"AutoConfig": "evil.Evil"}}, "can read"),
    (CONFIG, {"d_model": "wide"}, "not a speech encoder that transformers can read"),
    (HEARING, b"[]", "not a speech encoder that transformers can read (AttributeError"),
    (HEARING, {"hop_length": 0}, "can read (ZeroDivisionError"),
    (HEARING, {"n_fft": 10**9}, "not a speech encoder that transformers can read"),
    (NUMBERS, math.nan, "encoder.layers.0.fc1.weight holds numbers that are not finite"),
]


@pytest.mark.parametrize(
    ("name", "change", "said"), ENCODERS, ids=[f"{c[0]}-{c[1]}"[:40] for c in ENCODERS]
)
def test_a_speech_encoder(tmp_path, name, change, said):
    folder = shutil.copytree(PACKAGED["whisper_tiny_en"], tmp_path / "own", copy_function=os.link)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'elsewhere' / 'trace')!r}, 'w')")
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if isinstance(change, bytes):
        path.write_bytes(change)
    elif isinstance(change, dict):
        path.write_text(json.dumps({**json.loads(content), **change}))
    else:
        state = safetensors.torch.load(content)
        state["encoder.layers.0.fc1.weight"].fill_(change)
        path.write_bytes(safetensors.torch.save(state, {"format": "pt"}))
    assert_refused(lambda: SpeechEncoder(folder, Pooling((1,), ("mean",), 30)), WeightsError, said)


# ---------------------------------------------------------------- model folders

WIDE = {"emotions": 2, "audio": [1_000_000], "faces": 1_000_000, "expressions": []}
CARDS: list[tuple[str, object, str]] = [
    ("schema_version", "3", "model of version '3', expected 3"),
    ("schema_version", 2.5, "model of version 2.5, expected 3"),
    ("system", "../av", "system ../av is unknown"),
    ("corpus", "moon", "corpus moon is unknown"),
    ("emotions", [], "expected two emotions or more, each once"),
    ("emotions", ["anger"], "expected two emotions or more, each once"),
    ("emotions", [1, 2], "emotions.0: got 1"),
    ("emotions", "anger", "emotions: got 'anger'"),
    ("branches", [], "expected branches of av, audio, visual"),
    ("branches", ["smell"], "expected branches of av, audio, visual"),
    ("pools", {"av": {}}, "a pool weighs no branch, or one that it cannot"),
    ("pools", {"audio": {"visual": 1.0}}, "a pool weighs no branch, or one that it cannot"),
    ("pools", {"av": {"av": float("nan")}}, "pools.av.av: got nan"),
    ("widths", {"emotions": 2, "audio": [-1]}, "expected widths of 0 to 1e6"),
    ("widths", {"emotions": 2, "audio": [10**12]}, "expected widths of 0 to 1e6"),
    ("widths", WIDE, "not the weights of"),
    ("settings", {}, "section audio is missing"),
    ("settings.fusion.hidden", 10**6, "not the weights of"),
    ("settings.audio.hidden", [10**6, 10**6], "not the weights of"),
    ("settings.fusion.hidden", 10**9, "hidden: got 1000000000"),
    ("inputs", None, "inputs: got None"),
    ("inputs.extract.frame_step", 0, "inputs.extract.frame_step: got 0"),
    ("inputs.pack.window_s", 1e9, "inputs.pack.window_s: got 1000000000"),
    ("inputs.embed.layers", [-1], "inputs.embed.layers.0: got -1"),
    ("metrics.chance", "much", "metrics.chance: got 'much'"),
    ("training_clips", {"a": 1}, "training_clips: got {'a': 1}"),
    ("files", {}, "names no network.safetensors"),
    ("files", {"../network.safetensors": "0"}, "names no network.safetensors"),
    ("files." + NETWORK, "0" * 64, "network.safetensors: sha256 differs"),
    ("files.x", "0" * 64, "x: missing from the model; copy its whole folder again"),
    ("files." + "x" * 300, "0" * 64, "missing from the model"),
    ("files.../x", "0" * 64, "names ../x, expected files of its own folder"),
    ("files./etc/hostname", "0" * 64, "names /etc/hostname, expected files of its own folder"),
    ("versions", ["avemo"], "versions: got ['avemo']"),
    ("run", "os.system('x')", "run: got \"os.system('x')\"; Extra inputs are not permitted"),
]


@pytest.mark.parametrize(
    ("field", "value", "said"), CARDS, ids=[f"{c[0][:20]}-{c[2][:20]}" for c in CARDS]
)
def test_a_model(tmp_path, model, field, value, said):
    folder = shutil.copytree(model, tmp_path / "model", copy_function=os.link)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).unlink()
    place, names = card, field.split(".", 1 if field.startswith("files") else -1)
    for name in names[:-1]:
        place = place[name]
    place[names[-1]] = value
    (folder / CARD).write_text(json.dumps(card))
    assert_refused(lambda: Recognizer.load(folder, torch.device("cpu")), WeightsError, said)
