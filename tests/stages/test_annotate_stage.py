import csv
import hashlib
import json

import cv2
import numpy as np
import pytest

from annotations import voc
from pipeline.clips import ClipRecord, frame_name, write_clips
from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.corpora.demo.film import film, pose, truth_rows
from pipeline.corpora.demo.plan import Variation, perform
from pipeline.corpora.demo.score import compose
from pipeline.errors import CorpusError
from stages.annotate import main

SIZE_PX = (320, 256)
FRAMES = 6
PARAMS = """
annotate: {upsample: 0, min_score: 0.0, speech_smoothing_s: 0.1}
split: {protocol: loso, test_per_emotion: 1, speaker_groups: 0, text_groups: 2,
  folds_csv: folds.csv, seed: 0}
"""
OUTPUTS = (
    "voc/Annotations",
    "voc/ImageSets",
    "voc/labelmap.txt",
    "voc/SHA256SUMS",
    "speech.csv",
    "annotation_metrics.json",
)


def draw(root, clip_id, speaker):
    play = perform(speaker, "anger", 1, Variation(0, 0.3))
    score = compose(play, (1.5, 1.6), 25.0)
    heads = pose(play, score, SIZE_PX)
    for index, image in zip(range(FRAMES), film(play, heads, SIZE_PX), strict=False):
        cv2.imwrite(str(root / f"voc/JPEGImages/{frame_name(clip_id, index)}.jpg"), image)
    rows = list(truth_rows(play, score, heads, SIZE_PX))[:FRAMES]
    with (root / f"truth/{clip_id}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def record(clip_id, speaker, frames=FRAMES):
    return ClipRecord(clip_id, speaker, "anger", "1", frames, 25.0, 1, *SIZE_PX, 0, 0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    (root / "voc/JPEGImages").mkdir(parents=True)
    (root / "truth").mkdir()
    for speaker in SPEAKERS[:2]:
        draw(root, f"{speaker.name}_a01", speaker)
    records = [record(f"{s.name}_a01", s.name) for s in SPEAKERS[:2]]
    write_clips(root / "clips.csv", [*records, record("mute_a01", SPEAKERS[0].name, 0)])
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    return root


@pytest.fixture
def annotate(drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(drawn)
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AVEMO_WORKERS", "1")

    def call(clips=drawn / "clips.csv", truth=drawn / "truth"):
        main(
            drawn / "voc/JPEGImages",
            clips,
            truth,
            *(tmp_path / name for name in OUTPUTS),
        )
        return tmp_path

    return call


def test_stage_writes_what_vocs_readers_want_twice_alike(annotate, drawn, capsys):
    out = annotate()
    names = {path.stem for path in (drawn / "voc/JPEGImages").iterdir()}
    assert {path.stem for path in (out / "voc/Annotations").iterdir()} == names
    assert all(voc.read(path).speaker_face for path in (out / "voc/Annotations").iterdir())
    main_lists = {
        path.stem: path.read_text().split() for path in (out / "voc/ImageSets/Main").iterdir()
    }
    assert main_lists.keys() == {
        "train", "test", "JE_train", "JE_test", "DC_train", "DC_test"
    }  # fmt: skip
    plain = [frame for name, frames in main_lists.items() if "_" not in name for frame in frames]
    assert sorted(plain) == sorted(names)  # datumaro imports each frame once
    checksums = dict(
        reversed(line.split()) for line in (out / "voc/SHA256SUMS").read_text().splitlines()
    )
    assert checksums.keys() == {f"JPEGImages/{n}.jpg" for n in names} | {
        f"Annotations/{n}.xml" for n in names
    }
    annotation = f"Annotations/{min(names)}.xml"
    digest = hashlib.sha256((out / "voc" / annotation).read_bytes()).hexdigest()
    assert checksums[annotation] == digest
    assert "\nface:" in (out / "voc/labelmap.txt").read_text()
    rows = list(csv.DictReader((out / "speech.csv").read_text().splitlines()))
    assert [(row["clip_id"], int(row["frame"])) for row in rows] == [
        (clip_id, index) for clip_id in ("DC_a01", "JE_a01") for index in range(FRAMES)
    ]
    figures = json.loads((out / "annotation_metrics.json").read_text())
    assert figures["found_rate"] == 1.0 and figures["truth"]["mean_iou"] >= 0.7
    line = "annotate: 2 clips, 12 frames, 0 without a face; against truth: "
    assert line in capsys.readouterr().out
    first = contents(out)
    assert contents(annotate()) == first


def contents(out):
    return {path: path.read_bytes() for path in (out / "voc").rglob("*") if path.is_file()} | {
        name: (out / name).read_bytes() for name in OUTPUTS if (out / name).is_file()
    }


def test_stage_without_video_or_truth_writes_empty_products(annotate, tmp_path):
    write_clips(tmp_path / "sound.csv", [record("DC_a01", "DC", 0), record("JE_a01", "JE", 0)])
    (tmp_path / "no_truth").mkdir()
    out = annotate(tmp_path / "sound.csv", tmp_path / "no_truth")
    assert not list((out / "voc/Annotations").glob("*.xml"))
    assert (out / "speech.csv").read_text() == "clip_id,frame,mouth_motion,speech\n"
    figures = json.loads((out / "annotation_metrics.json").read_text())
    assert figures["frames"] == 0 and "truth" not in figures


def test_stage_names_a_missing_frame(annotate, tmp_path):
    records = [record("DC_a01", "DC", FRAMES + 1), record("JE_a01", "JE")]
    write_clips(tmp_path / "long.csv", records)
    with pytest.raises(CorpusError, match=r"DC_a01_00006\.jpg: no such frame of DC_a01"):
        annotate(tmp_path / "long.csv")


def test_stage_before_extract_names_the_command(annotate, tmp_path):
    with pytest.raises(CorpusError, match=r"clips\.csv: no such file; run `dvc repro extract`"):
        annotate(tmp_path / "clips.csv")


def test_blank_frames_do_not_stop_the_stage(annotate, drawn, tmp_path, caplog):
    for index in range(2):
        path = drawn / f"voc/JPEGImages/{frame_name('KL_a01', index)}.jpg"
        cv2.imwrite(str(path), np.full((256, 320, 3), 90, np.uint8))
    records = [record("KL_a01", "KL", 2), record("JE_a01", "JE")]
    write_clips(tmp_path / "blank.csv", records)
    out = annotate(tmp_path / "blank.csv")
    assert not voc.read(out / "voc/Annotations/KL_a01_00000.xml").objects
    assert "KL_a01: no face in any of 2 frames" in caplog.text
