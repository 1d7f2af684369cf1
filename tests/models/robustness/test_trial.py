"""Clips under conditions, on a model with random weights: what is asked, answered and kept."""

import numpy as np
import pytest
import torch
from random_model import EMOTIONS, draw_clip, make_model

from models.recognition.faces import look
from models.recognition.recognizer import Recognizer
from models.recognition.windows import decoded
from models.robustness.conditions import CONDITIONS
from models.robustness.trial import ANSWERS, Trial, answer_trial
from models.robustness.white_box import WhiteBox, faced_frames, unfollowed
from models.saved_model import PRETRAINED
from pipeline.clips import Clip
from pipeline.media.images import read_image
from pipeline.report.robustness.answers import CLEAN, read_answers

SOME = ("white", "babble", "telephone", "blur", "mouth", "dropped", "no_sound", "no_picture")
ATTACKS = ("fgsm_both", "pgd_sound", "pgd_picture", "pgd_both")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    place = tmp_path_factory.mktemp("clips")
    return [draw_clip(place / f"{seed}.avi", EMOTIONS[seed % 2], seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def answers(model, clips, tmp_path_factory):
    """By condition, of the first clip, whose emotion is the second one."""
    folder = tmp_path_factory.mktemp("answers")
    own, other = (Clip(path.stem, "A", "", "", path, None) for path in clips)
    severities = {name: CONDITIONS[name].severities for name in (*SOME, *ATTACKS)}
    answer_trial(Trial(model, "1", 1, own, (other,), severities, 0), folder)
    return read_answers(folder / ANSWERS)


def test_the_clean_answer_is_that_of_the_model_and_each_severity_has_one(model, clips, answers):
    expected = Recognizer.load(model).predict(clips[0])
    (clean,) = answers[CLEAN]
    assert clean.probabilities == tuple(expected.probabilities.values())
    assert clean.face_share == expected.face_share == 1
    for name in (*SOME, *ATTACKS):
        assert len(answers[name]) == len(CONDITIONS[name].severities)
        assert all(sum(one.probabilities) == pytest.approx(1) for one in answers[name])


def test_a_condition_changes_what_it_harms_and_nothing_else(answers):
    (clean,) = answers[CLEAN]
    for name in ("white", "babble", "telephone", "blur", "mouth"):
        versions = [clean, *answers[name]]
        assert len({one.probabilities for one in versions}) == len(versions), name
    for name in ("white", "babble", "telephone"):
        assert {one.sigma_px for one in answers[name]} == {clean.sigma_px}
    assert [one.branch for one in answers["no_sound"]] == ["visual"]
    assert [(o.branch, o.face_share) for o in answers["no_picture"]] == [("audio", None)]


def test_attacks_lower_p_of_the_true_emotion_the_more_the_wider_they_reach(answers):
    (clean,) = answers[CLEAN]
    for name in ("fgsm_both", "pgd_sound", "pgd_both"):
        p = [clean.probabilities[1], *(one.probabilities[1] for one in answers[name])]
        assert p[-1] < p[0], name
        assert p[-1] <= p[1] + 1e-6, name


def test_the_white_box_answers_the_clean_clip_as_the_model_does(model, clips):
    recognizer = Recognizer.load(model)
    with decoded(clips[0], True, recognizer.card.inputs) as recording:
        window = next(recording.windows())
        looked = look(window, recognizer.detector, recognizer.card.inputs, every_frame=False)
        frames = [read_image(window.frames[index]) for index in faced_frames(looked)]
        inputs = recognizer.inputs("av", window, looked)
        answer = recognizer.answer(window, looked)
    loss = WhiteBox(recognizer).loss(0, "av", looked, inputs)
    pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    given = {"sound": torch.from_numpy(window.waveform), "picture": pictures}
    for some in ({}, given):
        p = torch.exp(-loss(some)).item()
        assert p == pytest.approx(answer.probabilities[EMOTIONS[0]], abs=1e-4)


def test_a_model_is_not_attacked_where_no_gradient_is_known(model):
    assert unfollowed(Recognizer.load(model), "sound") == []
    assert unfollowed(Recognizer.load(model), "picture") == []
    assert unfollowed(Recognizer.load(PRETRAINED), "sound") == []
    recognizer = Recognizer.load(model)
    recognizer.reads = ("cepstra", "expressions", "weights")
    assert unfollowed(recognizer, "sound") == ["cepstra"]
    assert unfollowed(recognizer, "picture") == ["expressions"]
