import math

import pytest
import torch

from models.faces.scores import ScoredFrame, failure, score_frames, score_sigma

FACE = torch.tensor([10.0, 10.0, 50.0, 50.0])


def _frame(boxes, found=1, dlib=FACE, **more):
    boxes = torch.tensor(boxes).reshape(-1, 4)
    scores = torch.full((len(boxes),), 0.9 if dlib is FACE else 0.95)
    references = {"dlib": dlib, **more}
    return ScoredFrame(boxes, scores, torch.ones(len(boxes), 4), 1, found, references)


def test_an_oracle_scores_one():
    scores = score_frames([_frame(FACE.tolist())] * 3, learned_sigma=True, emotions=True)
    for name in ("ap50", "ap75", "ap90", "mean_iou", "emotion_accuracy", "coverage_68"):
        assert scores[name] == pytest.approx(1)
    assert scores["frames_without_detection"] == 0
    assert scores["truth"] is None


def test_average_precision_tells_the_thresholds_apart():
    near = [10.0, 10.0, 50.0, 42.0]  # IoU 0.8
    scores = score_frames([_frame(near)], learned_sigma=False, emotions=False)
    assert (scores["ap75"], scores["ap90"]) == (pytest.approx(1), 0)
    assert scores["mean_iou"] == pytest.approx(0.8)
    assert scores["sigma_nll"] is None
    assert scores["emotion_accuracy"] is None


def test_a_frame_without_detection_counts_as_wrong():
    scores = score_frames([_frame(FACE.tolist()), _frame([], found=-1)], True, True)
    assert scores["frames_without_detection"] == 1
    assert scores["mean_iou"] == pytest.approx(0.5)
    assert scores["emotion_accuracy"] == pytest.approx(0.5)


def test_a_face_found_where_there_is_none_costs_precision():
    alone = _frame(FACE.tolist())
    ghost = _frame(FACE.tolist(), dlib=None)
    assert score_frames([alone, ghost], True, True)["ap50"] < 1
    assert score_frames([ghost], True, True)["ap50"] is None


def test_truth_is_scored_over_the_frames_that_have_it():
    frames = [_frame(FACE.tolist(), truth=FACE), _frame([0.0, 0.0, 9.0, 9.0])]
    scores = score_frames(frames, learned_sigma=True, emotions=True)
    assert scores["truth"]["mean_iou"] == pytest.approx(1)
    assert scores["mean_iou"] == pytest.approx(0.5)


def test_sigma_of_normal_errors_is_calibrated_and_has_the_entropy_as_nll():
    generator = torch.Generator().manual_seed(0)
    sigma = torch.rand(20000, 4, generator=generator) + 0.5
    errors = torch.randn(20000, 4, generator=generator) * sigma
    scores = score_sigma(errors, sigma)
    assert scores["coverage_68"] == pytest.approx(0.68, abs=0.01)
    assert scores["coverage_95"] == pytest.approx(0.95, abs=0.01)
    entropy = 0.5 * math.log(2 * math.pi * math.e) + torch.log(sigma).mean().item()
    assert scores["sigma_nll"] == pytest.approx(entropy, abs=0.02)


def test_a_detector_that_failed_is_said_to_have():
    good = {"paper": 0.86, "paper.inner0": 0.84}
    assert failure(good, {"paper": [4.2, 1.3], "of one epoch": [2.0]}) is None
    assert failure({"sound alone": None}, {}) is None
    weak = failure({"DC": 0.87, "JE": 0.05, "JK": 0.87}, {"DC": [4.2, 1.3]})
    assert "fold JE (mean IoU with dlib's boxes is 0.05, below 0.5)" in weak
    assert "DC" not in weak
    diverged = failure(good, {"paper": [4.2, 1.3], "paper.inner0": [4.2, 1.3, 5.0]})
    assert "fold paper.inner0 (the loss diverged, from 4.200" in diverged
    assert "fold paper (" not in diverged
