from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from annotations.box import Box
from annotations.faces.speech import UNKNOWN, speech_activity
from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.corpora.demo.face import face_box
from pipeline.corpora.demo.film import film, pose
from pipeline.corpora.demo.plan import Variation, perform
from pipeline.corpora.demo.score import compose

FRAMES = 24
FACE = Box(100, 60, 220, 180)


@pytest.fixture(scope="module")
def portrait():
    """A face-like texture, smooth enough to be moved by parts of a pixel."""
    noise = np.random.default_rng(0).normal(size=(256, 320))
    texture = cv2.GaussianBlur(noise, (0, 0), 4)
    return 128 + 40 * texture / texture.std()


def clip(portrait, mouth, shifts=((0, 0),) * FRAMES, noise=2.0):
    """Gray frames with a dark mouth of the given openings in px, moved by `shifts` in px."""
    rng = np.random.default_rng(1)
    frames = []
    for opening, (dx, dy) in zip(mouth, shifts, strict=True):
        image = portrait.copy()
        cv2.ellipse(image, (160, 155), (22, round(opening)), 0, 0, 360, 20.0, -1)
        moved = cv2.warpAffine(
            cv2.GaussianBlur(image, (0, 0), 1.5),
            np.float64([[1, 0, dx], [0, 1, dy]]),
            (320, 256),
            borderMode=cv2.BORDER_REFLECT,
        )
        moved += rng.normal(size=moved.shape) * noise
        frames.append(moved.clip(0, 255).round().astype(np.uint8))
    return frames


STILL = np.full(FRAMES, 3.0)
TALKING = 3 + 8 * np.abs(np.sin(0.75 * np.arange(FRAMES)))
SWAY = np.stack([9 * np.sin(np.arange(FRAMES) / 3), 5 * np.cos(np.arange(FRAMES) / 4)], 1)


def activity(frames, boxes=None):
    times_s = np.arange(len(frames)) / 25
    return speech_activity(frames, boxes or [FACE] * len(frames), times_s, 0.1)


def test_moving_mouth_speaks_and_still_mouth_does_not(portrait):
    talking, still = activity(clip(portrait, TALKING)), activity(clip(portrait, STILL))
    assert talking.speech.min() > 0.5
    assert still.speech.max() < 0.2
    assert talking.motion.mean() > 10 * still.motion.mean()


@pytest.mark.parametrize("mouth", [STILL, TALKING], ids=["still", "talking"])
def test_head_translation_leaves_speech_alone(portrait, mouth):
    """Boxes stay put, as dlib's do on their grid: the alignment alone must follow the head."""
    at_rest, swaying = activity(clip(portrait, mouth)), activity(clip(portrait, mouth, SWAY))
    assert swaying.speech == pytest.approx(at_rest.speech, abs=0.15)


def test_boxes_that_follow_the_head_allow_larger_movement(portrait):
    shifts = np.stack([np.arange(FRAMES) % 2 * 28.0, np.zeros(FRAMES)], 1)
    boxes = [Box(FACE.x1 + dx, FACE.y1, FACE.x2 + dx, FACE.y2) for dx, _ in shifts]
    assert activity(clip(portrait, STILL, shifts), boxes).speech.max() < 0.2


def test_frames_that_are_missing_do_not_shift_the_speech(portrait):
    """A recording of variable rate: 25 a second in the pause, of the speech half and some."""
    frames = clip(portrait, np.concatenate([STILL[:12], TALKING[:12], STILL[:12]]), [(0, 0)] * 36)
    kept = np.array([*range(12), *range(12, 24, 2), 24, 25, 29, 30, 31, 35])
    speech = speech_activity([frames[i] for i in kept], [FACE] * len(kept), kept / 25, 0.1).speech
    assert speech == pytest.approx(activity(frames).speech[kept], abs=0.35)


def test_pause_is_lower_than_speech(portrait):
    speech = activity(clip(portrait, np.concatenate([STILL[:12], TALKING[:12]]))).speech
    assert speech[:9].max() < 0.2 < 0.5 < speech[15:].min()


def test_brightness_and_size_do_not_matter(portrait):
    frames = clip(portrait, TALKING, noise=0.0)
    doubled = [cv2.resize(f, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR) for f in frames]
    boxes = [Box(200, 120, 440, 360)] * FRAMES
    dim = [(f * 0.6).astype(np.uint8) for f in frames]
    expected = activity(frames).speech
    assert activity(doubled, boxes).speech == pytest.approx(expected, abs=0.1)
    assert activity(dim).speech == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("hidden", [range(8, 12), range(16, FRAMES)], ids=["within", "title card"])
def test_frames_without_a_face_are_silent_whatever_they_show(portrait, hidden):
    talking = clip(portrait, TALKING)
    boxes = [None if t in hidden else FACE for t in range(FRAMES)]
    blank = np.zeros_like(talking[0])
    found = activity([blank if t in hidden else f for t, f in enumerate(talking)], boxes)
    assert found.measured
    assert found.speech.tolist() == activity(talking, boxes).speech.tolist()
    for t in range(FRAMES):
        assert found.speech[t] == found.motion[t] == 0.0 if t in hidden else found.speech[t] > 0.3


@pytest.mark.parametrize(
    ("boxes", "speech"),
    [
        ([None] * 3, [UNKNOWN] * 3),
        ([FACE, None, FACE], [UNKNOWN, 0.0, UNKNOWN]),
        ([FACE], [UNKNOWN]),
    ],
)
def test_nothing_to_measure_weights_frames_alike(portrait, boxes, speech):
    activity_ = activity(clip(portrait, STILL)[: len(boxes)], boxes)
    assert not activity_.measured
    assert activity_.speech.tolist() == speech
    assert activity_.motion.tolist() == [0.0] * len(boxes)


def test_flat_frames_are_silent():
    activity_ = activity([np.full((256, 320), 90, np.uint8)] * 4)
    assert activity_.speech.tolist() == [0.0] * 4


def test_speech_agrees_with_the_drawn_truth(take):
    speech = speech_activity(take.frames, take.boxes, np.arange(len(take.frames)) / 25, 0.1).speech
    assert np.all((speech >= 0) & (speech <= 1))
    assert roc_auc_score(take.speaking, speech) >= 0.75
    assert f1_score(take.speaking, speech >= 0.5) >= 0.85


@pytest.mark.parametrize("kind", ["still", "sways", "grimaces", "opens and shuts"])
@pytest.mark.parametrize("step", [1, 2])
def test_a_silent_face_does_not_speak_whatever_else_it_does(kind, step):
    """In absolute terms: nothing in the clip speaks to compare it with."""
    play = perform(SPEAKERS[1], "happiness", 1, Variation(seed=11, ambiguity=0.3))
    heads = pose(play, compose(play, (1.8, 2.0), 25.0), (320, 256))
    times_s = np.arange(len(heads)) / 25
    rest = replace(heads[0].moment, mouth=0.0)
    moments = {
        "still": [rest for _ in heads],
        "sways": [replace(head.moment, mouth=0.0) for head in heads],
        "grimaces": [replace(rest, strength=0.7 + 0.6 * np.sin(5 * t)) for t in times_s],
        "opens and shuts": [replace(rest, mouth=0.5 - 0.5 * np.cos(3.5 * t)) for t in times_s],
    }
    drawn = [replace(head, moment=m) for head, m in zip(heads, moments[kind], strict=True)]
    frames = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in film(play, drawn, (320, 256))]
    boxes = [Box(*face_box(head, 320, 256)).rounded() for head in drawn]
    speech = speech_activity(frames[::step], boxes[::step], times_s[::step], 0.1).speech
    assert np.mean(speech >= 0.5) <= 0.15 and np.median(speech) < 0.25
