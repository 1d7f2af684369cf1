from dataclasses import replace

import numpy as np
import pytest

from pipeline.clips import EMOTIONS
from pipeline.scores.metrics import summarise
from pipeline.scores.predictions import Predictions
from pipeline.scores.results import digest_of_test_set, headline_metrics

DETECTOR = {"frames": 8, "ap50": 1.0, "ap75": 0.75, "mean_iou": 0.8, "truth": {"ap50": 1.0}}


def predictions_of(right, clips=8):
    """Clips of two emotions, the first `right` of them answered rightly, each at p = 0.8."""
    emotion = np.arange(clips) % 2
    predicted = np.where(np.arange(clips) < right, emotion, 1 - emotion)
    probabilities = np.full((clips, 2), 0.2)
    probabilities[np.arange(clips), predicted] = 0.8
    names = tuple(f"S{i % 2}_{i}" for i in range(clips))
    return Predictions(
        EMOTIONS[:2], ("paper",) * clips, names, ("S0", "S1") * (clips // 2), ("",) * clips,
        emotion, predicted, probabilities.max(axis=1), probabilities,
    )  # fmt: skip


@pytest.fixture
def branches():
    return {"av": predictions_of(7), "audio": predictions_of(6), "visual": predictions_of(4)}


def test_the_tracked_metrics_are_a_dozen_figures_in_reading_order(branches):
    summary = summarise(branches, 0.5)
    figures = headline_metrics(summary, DETECTOR, branches["av"])
    assert list(figures) == [
        "accuracy", "accuracy_low", "accuracy_high", "uar", "macro_f1", "ece", "nll",
        "audio_accuracy", "visual_accuracy", "ap75", "mean_iou", "clips", "test_set",
    ]  # fmt: skip
    assert (figures["accuracy"], figures["audio_accuracy"], figures["visual_accuracy"]) == (
        (0.875, 0.75, 0.5)
    )
    assert figures["accuracy_low"] < 0.875 < figures["accuracy_high"]
    assert (figures["ap75"], figures["mean_iou"]) == (0.75, 0.8)


def test_figures_that_a_run_lacks_are_left_out(branches):
    audio = {"audio": branches["audio"]}
    unseen = {"ap75": None, "mean_iou": None}
    figures = headline_metrics(summarise(audio, 0.5), unseen, audio["audio"])
    assert figures["accuracy"] == figures["audio_accuracy"] == 0.75
    assert not {"visual_accuracy", "ap75", "mean_iou"} & figures.keys()


def test_the_test_set_changes_with_its_clips_and_folds_alone(branches):
    main = branches["av"]
    digest = digest_of_test_set(main)
    assert digest == digest_of_test_set(branches["visual"])
    assert digest == digest_of_test_set(replace(main, clip_id=main.clip_id[::-1]))
    assert digest != digest_of_test_set(replace(main, clip_id=("other", *main.clip_id[1:])))
    assert digest != digest_of_test_set(replace(main, fold=("loso",) * len(main)))
