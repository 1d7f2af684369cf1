import cv2
import numpy as np
import pytest
from annotate_params import PARAMS

from annotations.box import Box
from annotations.faces.detection import Detection, detect_faces
from annotations.faces.tracks import choose_speaker as choose_by


def seen(x, y, side, score=1.0):
    return Detection(Box(x, y, x + side, y + side), score)


def choose_speaker(frames):
    """Of faces that all talk alike."""
    return choose_by(frames, lambda boxes: 1.0)


def test_detect_finds_the_drawn_face_again_and_again(take):
    first = [detect_faces(gray, PARAMS) for gray in take.frames[::8]]
    assert first == [detect_faces(gray, PARAMS) for gray in take.frames[::8]]
    for detections, truth in zip(first, take.boxes[::8], strict=True):
        assert len(detections) == 1
        assert detections[0].box.iou(truth) >= 0.7
        assert detections[0].box == detections[0].box.rounded().clamped(320, 256)


def test_detect_sorts_by_score_and_obeys_min_score(take):
    left, right = take.frames[0], cv2.GaussianBlur(take.frames[0], (0, 0), 2.5)
    found = detect_faces(np.hstack([left, right]), PARAMS)
    assert len(found) == 2
    assert found[0].score > found[1].score
    between = (found[0].score + found[1].score) / 2
    stricter = PARAMS.model_copy(update={"min_score": between})
    assert detect_faces(np.hstack([left, right]), stricter) == found[:1]


@pytest.mark.parametrize("shape", [(256, 320), (40, 30), (1, 1)])
def test_detect_finds_nothing_in_a_blank_or_tiny_image(shape):
    again = PARAMS.model_copy(update={"second_look": True})
    assert detect_faces(np.full(shape, 127, np.uint8), again) == []


def test_a_large_frame_is_searched_small_and_its_boxes_are_the_more_exact(take):
    whole = PARAMS.model_copy(update={"max_side_px": 10_000})
    overlaps = {PARAMS: [], whole: []}
    for gray, truth in zip(take.frames[::8], take.boxes[::8], strict=True):
        large = cv2.resize(gray, (1280, 1024), interpolation=cv2.INTER_CUBIC)
        for params, ious in overlaps.items():
            [found] = detect_faces(large, params)
            assert found.box == found.box.rounded().clamped(1280, 1024)
            ious.append(found.box.iou(truth.resized(4, 4)))
    assert min(overlaps[PARAMS]) > 0.8
    assert np.mean(overlaps[PARAMS]) > np.mean(overlaps[whole])


def test_refined_boxes_are_nearer_to_the_face(take):
    refine = PARAMS.model_copy(update={"refine": True})
    overlaps = {PARAMS: [], refine: []}
    for gray, truth in zip(take.frames[::8], take.boxes[::8], strict=True):
        for params, ious in overlaps.items():
            [found] = detect_faces(gray, params)
            assert found.box == found.box.rounded().clamped(320, 256)
            ious.append(found.box.iou(truth))
    assert min(overlaps[refine]) > 0.8
    assert np.mean(overlaps[refine]) > np.mean(overlaps[PARAMS]) + 0.02


def test_a_second_look_finds_a_small_face_where_none_was_found(take):
    small = cv2.resize(take.frames[0], (96, 77), interpolation=cv2.INTER_AREA)
    assert detect_faces(small, PARAMS) == []
    [found] = detect_faces(small, PARAMS.model_copy(update={"second_look": True}))
    assert found.box.iou(take.boxes[0].resized(96 / 320, 77 / 256)) > 0.7


def test_speaker_is_the_larger_steady_face_whatever_the_order():
    big, small = seen(50, 50, 100), seen(200, 60, 60, score=2.0)
    assert choose_speaker([[small, big], [big, small], [small, big]]) == [1, 0, 1]


def test_speaker_stays_when_another_face_is_larger_for_a_moment():
    frames = [[seen(50 + t, 50, 90)] for t in range(8)]
    frames[3] = [seen(200, 50, 110), *frames[3]]
    assert choose_speaker(frames) == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("side", "motion", "seen_in", "speaker"),
    [(70, 0.1, 6, 1), (70, 0.03, 6, 0), (40, 0.1, 6, 0), (70, 0.1, 2, 0)],
    ids=["talks", "hardly moves", "far smaller", "for a moment"],
)
def test_a_larger_still_face_is_not_the_speaker_beside_one_that_talks(
    side, motion, seen_in, speaker
):
    frames = [[seen(0, 0, 100), *[seen(200, 0, side)] * (t < seen_in)] for t in range(6)]
    chosen = choose_by(frames, lambda boxes: 0.02 if boxes[0].x1 == 0 else motion)
    assert chosen == [speaker] * 6


def test_after_a_cut_the_talking_face_is_again_preferred():
    shots = [[seen(0, 0, 100)]] * 4 + [[seen(300, 0, 90), seen(150, 0, 60)]] * 3
    side = {100: 0.1, 90: 0.01, 60: 0.1}
    chosen = choose_by(shots, lambda boxes: side[next(b for b in boxes if b).width])
    assert chosen == [0] * 4 + [1] * 3


def test_a_bystander_is_not_the_speaker_while_the_speaker_is_missed():
    speaker, bystander = seen(50, 50, 100), seen(220, 60, 50)
    assert choose_speaker([[speaker, bystander], [bystander], [speaker]]) == [0, None, 0]


def test_speaker_is_found_again_after_a_cut():
    assert choose_speaker([[seen(0, 0, 100)]] * 2 + [[]] + [[seen(200, 0, 90)]]) == [0, 0, None, 0]


@pytest.mark.parametrize("frames", [[], [[], []]])
def test_no_face_gives_no_speaker(frames):
    assert choose_speaker(frames) == [None] * len(frames)
