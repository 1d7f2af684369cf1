import logging

import cv2
import numpy as np
import pytest
from annotate_params import PARAMS

from annotations import voc
from annotations.box import Box
from annotations.faces.agreement import area_under_roc, describe, f1, measure
from annotations.faces.annotate import (
    ClipFrames,
    FrameSummary,
    annotate_clip,
    count_faces,
    read_summary,
)
from annotations.truth import TrueFrame, read_truth
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import CorpusError, MediaError


def annotated(folder, images, params=PARAMS):
    """Annotate gray images as the clip DC_h01; XML files by frame, and the summary."""
    (folder / "jpg").mkdir()
    paths = tuple(folder / "jpg" / f"{frame_name('DC_h01', i)}.jpg" for i in range(len(images)))
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    out = folder / "out"
    times_s = tuple(index / 25 for index in range(len(paths)))
    annotate_clip(ClipFrames("DC_h01", "happiness", paths, times_s, 2, params, {}), out)
    return [voc.read(out / "Annotations" / f"{p.stem}.xml") for p in paths], read_summary(out)


def test_annotation_says_what_was_found(tmp_path, take):
    [annotation, *_], summary = annotated(tmp_path, take.frames[:4])
    [face] = annotation.objects
    assert (annotation.filename, annotation.width_px, annotation.height_px) == (
        "DC_h01_00000.jpg",
        320,
        256,
    )
    assert (face.name, face.emotion, face.source, face.primary) == (
        "face",
        "happiness",
        "dlib_hog",
        True,
    )
    assert face.score is not None and face.score > 0
    assert [row.frame for row in summary] == [0, 1, 2, 3]
    assert summary[0].box == face.box and face.box.iou(take.boxes[0]) > 0.7


def test_no_face_is_an_annotation_without_objects(tmp_path, take, caplog):
    blank = np.full((256, 320), 127, np.uint8)
    xml, summary = annotated(tmp_path, [take.frames[0], blank, take.frames[1]])
    assert [len(annotation.objects) for annotation in xml] == [1, 0, 1]
    assert count_faces({"DC_h01": summary})["frames_without_face"] == 1
    assert not caplog.records


def test_a_face_that_is_missed_for_a_moment_is_filled_in_and_marked(tmp_path, take):
    blank = np.full((256, 320), 127, np.uint8)
    images = [take.frames[0], blank, blank, take.frames[1], blank, blank, blank, take.frames[2]]
    xml, summary = annotated(tmp_path, images, PARAMS.model_copy(update={"fill_gaps": 2}))
    assert [len(annotation.objects) for annotation in xml] == [1, 1, 1, 1, 0, 0, 0, 1]
    [face] = xml[1].objects
    assert (face.source, face.score, face.primary) == ("filled", None, True)
    assert face.box == summary[1].box and face.box.iou(summary[0].box) > 0.8
    figures = count_faces({"DC_h01": summary})
    assert (figures["frames_filled"], figures["frames_without_face"]) == (2, 3)


def test_clip_without_any_face_is_counted_logged_and_weighs_alike(tmp_path, caplog):
    _, summary = annotated(tmp_path, [np.full((256, 320), 127, np.uint8)] * 3)
    figures = count_faces({"DC_h01": summary})
    assert figures["clips_without_face"] == 1 and figures["found_rate"] == 0.0
    assert {row.speech for row in summary} == {0.5}
    assert "no face in any frame of 1 clip: DC_h01;" in caplog.text


def test_many_clips_without_a_face_are_one_line(caplog):
    nothing = FrameSummary(0, 0, None, 0.0, 0.5, "found")
    count_faces({f"clip{number}": [nothing] for number in range(200)})
    (record,) = caplog.records
    assert ": clip0, clip1, clip2, and 197 more;" in record.getMessage()


def test_several_faces_are_all_written_and_one_is_primary(tmp_path, take, caplog):
    caplog.set_level(logging.WARNING)
    extra = cv2.resize(take.frames[0], None, fx=0.85, fy=0.85)[:, 40:240]
    images = [np.hstack([np.pad(extra, ((0, 256 - len(extra)), (0, 0))), f]) for f in take.frames]
    xml, summary = annotated(tmp_path, images[:3])
    for annotation in xml:
        assert [face.primary for face in annotation.objects].count(True) == 1
        assert len(annotation.objects) == 2
        assert annotation.speaker_face.box.x1 > 200
    assert count_faces({"DC_h01": summary})["frames_with_several_faces"] == 3
    assert "several faces in frames of 1 clip: DC_h01 (3 of 3);" in caplog.text


def test_the_one_who_talks_is_the_speaker_beside_a_larger_still_face(tmp_path, take):
    start = int(np.argmax(take.speaking))
    smaller = [cv2.resize(f, None, fx=0.85, fy=0.85)[:, 40:240] for f in take.frames[start:][:8]]
    padded = [np.pad(f, ((0, 256 - len(f)), (0, 0))) for f in smaller]
    xml, _ = annotated(tmp_path, [np.hstack([f, take.frames[0]]) for f in padded])
    for annotation in xml:
        assert len(annotation.objects) == 2
        assert annotation.speaker_face.box.x2 < 200


def test_unreadable_frame_is_named(tmp_path):
    for content in (b"", b"no image"):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(MediaError, match=r"a\.jpg: not a readable image"):
            clip = ClipFrames("a", "", (tmp_path / "a.jpg",), (0.0,), 1, PARAMS, {})
            annotate_clip(clip, tmp_path)


def record(clip_id="DC_h01", frame_step=1):
    return ClipRecord(clip_id, "DC", "happiness", "", 4, 25.0, frame_step, 320, 256, 0, 0)


def test_perfect_and_blind_annotation_score_as_they_should(tmp_path, take):
    _, summary = annotated(tmp_path, take.frames[:4])
    truth = {2 * row.frame: TrueFrame(row.box, row.speech > 0.5) for row in summary}
    found = measure([record(frame_step=2)], {"DC_h01": summary}, {"DC_h01": truth})
    assert (found["frames"], found["recall"], found["mean_iou"]) == (4, 1.0, 1.0)
    assert found.get("speech_auc", 1.0) == 1.0
    elsewhere = {f: TrueFrame(Box(0, 0, 9, 9), t.speaking) for f, t in truth.items()}
    missed = measure([record(frame_step=2)], {"DC_h01": summary}, {"DC_h01": elsewhere})
    assert (missed["recall"], missed["mean_iou"]) == (0.0, 0.0)
    assert measure([record()], {"DC_h01": summary}, {}) == {"frames": 0}


def test_area_under_roc_by_hand():
    assert area_under_roc([(True, 0.9), (False, 0.1)]) == 1.0
    assert area_under_roc([(True, 0.5), (False, 0.5)]) == 0.5
    assert area_under_roc([(True, 0.3), (False, 0.4), (True, 0.8), (False, 0.1)]) == 0.75
    assert area_under_roc([(True, 0.3)]) is None


def test_f1_by_hand():
    assert f1([(True, True), (True, False), (False, True), (False, False)]) == 0.5
    assert f1([(True, True), (False, False)]) == 1.0
    assert f1([(True, False)]) == 0.0


def test_damaged_truth_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("frame,x1,y1,x2,y2\n0,1,2,3,4\n")
    with pytest.raises(CorpusError, match=r"a\.csv line 2: no column speech"):
        read_truth(tmp_path / "a.csv")


def test_closing_text_with_and_without_truth():
    counts = {"clips": 2, "frames": 9, "frames_without_face": 1}
    assert describe(counts) == "2 clips, 9 frames, 1 without a face"
    truth = {"recall": 0.9, "mean_iou": 0.8, "speech_auc": 0.75}
    assert describe({**counts, "truth": truth}).endswith(
        "recall 0.900, mean IoU 0.800, speech AUC 0.750"
    )
