import csv
import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from annotations import voc
from annotations.box import Box
from pipeline.clips import ClipRecord, frame_name, write_clips
from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.corpora.demo.film import film, pose, truth_rows
from pipeline.corpora.demo.plan import Variation, perform
from pipeline.corpora.demo.score import compose
from pipeline.errors import AnnotationError, CorpusError
from stages.annotate import main

SIZE_PX = (320, 256)
FRAMES = 6
PARAMS = """
annotate: {upsample: 0, max_side_px: 640, min_score: 0.0, second_look: true, refine: false,
  fill_gaps: 0, speech_smoothing_s: 0.1}
"""
OUTPUTS = (
    "voc/Annotations",
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
            tmp_path / "corrections",
            *(tmp_path / name for name in OUTPUTS),
        )
        return tmp_path

    return call


def test_stage_writes_what_vocs_readers_want_twice_alike(annotate, drawn, capsys):
    out = annotate()
    names = {path.stem for path in (drawn / "voc/JPEGImages").iterdir()}
    assert {path.stem for path in (out / "voc/Annotations").iterdir()} == names
    assert all(voc.read(path).speaker_face for path in (out / "voc/Annotations").iterdir())
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
    with pytest.raises(CorpusError, match=r"frames\.csv: no such file; run `dvc repro extract`"):
        annotate(tmp_path / "clips.csv")


def test_blank_frames_do_not_stop_the_stage(annotate, drawn, tmp_path, caplog):
    for index in range(2):
        path = drawn / f"voc/JPEGImages/{frame_name('KL_a01', index)}.jpg"
        cv2.imwrite(str(path), np.full((256, 320, 3), 90, np.uint8))
    records = [record("KL_a01", "KL", 2), record("JE_a01", "JE")]
    write_clips(tmp_path / "blank.csv", records)
    out = annotate(tmp_path / "blank.csv")
    assert not voc.read(out / "voc/Annotations/KL_a01_00000.xml").objects
    assert "no face in any frame of 1 clip: KL_a01;" in caplog.text


def test_a_corrected_frame_costs_one_clip_and_stays_corrected(annotate, capsys):
    out = annotate()
    before, speech = contents(out), (out / "speech.csv").read_text()
    name = frame_name("JE_a01", 2)
    found = voc.read(out / f"voc/Annotations/{name}.xml")
    [face] = found.objects
    moved = Box(face.box.x1 + 30, face.box.y1 + 10, face.box.x2 + 30, face.box.y2 + 10)
    right = replace(found, objects=(replace(face, box=moved, source="", emotion=""),))
    voc.write(out / f"corrections/{name}.xml", right)
    capsys.readouterr()
    after = contents(annotate())
    assert "1 from cache" in capsys.readouterr().out
    assert {str(path) for path in after if after[path] != before[path]} == {
        str(out / f"voc/Annotations/{name}.xml"), str(out / "voc/SHA256SUMS"),
        "voc/SHA256SUMS", "speech.csv", "annotation_metrics.json",
    }  # fmt: skip
    [kept] = voc.read(out / f"voc/Annotations/{name}.xml").objects
    assert (kept.box, kept.source, kept.emotion) == (moved, "person", "anger")
    changed = zip(speech.splitlines(), (out / "speech.csv").read_text().splitlines(), strict=True)
    assert {old.split(",")[0] for old, new in changed if old != new} == {"JE_a01"}
    figures = json.loads((out / "annotation_metrics.json").read_text())
    assert figures["frames_corrected"] == 1
    assert contents(annotate()) == after
    (out / f"corrections/{name}.xml").unlink()
    assert contents(annotate()) == before


def test_a_frame_without_the_speaker_is_said_to_be_silent(annotate):
    out = annotate()
    name = frame_name("DC_a01", 1)
    found = voc.read(out / f"voc/Annotations/{name}.xml")
    voc.write(out / f"corrections/{name}.xml", replace(found, objects=()))
    annotate()
    rows = list(csv.DictReader((out / "speech.csv").read_text().splitlines()))
    assert [float(row["speech"]) == 0 for row in rows[:3]] == [False, True, False]
    assert json.loads((out / "annotation_metrics.json").read_text())["frames_without_face"] == 1


def test_an_edit_in_the_product_itself_is_refused_and_not_overwritten(annotate):
    out = annotate()
    path = out / "voc/Annotations/JE_a01_00002.xml"
    content = path.read_text().replace("<difficult>0<", "<difficult>1<")
    path.write_text(content)
    with pytest.raises(
        AnnotationError, match=r"1 file edited by hand, .*JE_a01_00002\.xml.*import"
    ):
        annotate()
    assert path.read_text() == content
    path.unlink()
    with pytest.raises(AnnotationError, match="edited by hand"):
        annotate()
    (out / "voc/SHA256SUMS").unlink()
    annotate()
    assert path.is_file()
