import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torchmetrics.functional.classification import multiclass_calibration_error

from pipeline.clips import EMOTIONS
from pipeline.errors import CorpusError
from pipeline.scores import calibration, metrics
from pipeline.scores.comparisons import mcnemar
from pipeline.scores.predictions import Predictions, read_predictions, write_predictions

KINDS = 7


def predictions_of(emotion, probabilities, speakers=4):
    emotion, probabilities = np.asarray(emotion), np.asarray(probabilities, dtype=float)
    count = len(emotion)
    return Predictions(
        emotions=EMOTIONS[: probabilities.shape[1]],
        fold=("all",) * count,
        clip_id=tuple(f"clip{i:05d}" for i in range(count)),
        speaker=tuple(f"S{i % speakers}" for i in range(count)),
        sentence=("",) * count,
        emotion=emotion,
        predicted=probabilities.argmax(axis=1),
        confidence=probabilities.max(axis=1),
        probabilities=probabilities,
    )


@pytest.fixture
def random_predictions():
    """480 clips, SAVEE's class counts, a classifier that is often right and unsure."""
    generator = np.random.default_rng(0)
    emotion = np.repeat(np.arange(KINDS), [60, 60, 60, 60, 120, 60, 60])
    generator.shuffle(emotion)
    logits = generator.normal(size=(480, KINDS)) + 1.5 * np.eye(KINDS)[emotion]
    return predictions_of(emotion, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))


def test_oracle_scores_one(random_predictions):
    truth = random_predictions.emotion
    oracle = predictions_of(truth, np.eye(KINDS)[truth])
    summary = metrics.summarise({"av": oracle}, 0.5)
    assert summary["accuracy"] == summary["uar"] == summary["macro_f1"] == 1
    assert summary["ece"] == summary["nll"] == summary["brier"] == summary["aurc"] == 0
    assert set(summary["speakers"].values()) == {1.0}


def test_constant_predictor_scores_the_majority(random_predictions):
    neutral = np.tile(np.eye(KINDS)[EMOTIONS.index("neutral")], (480, 1))
    constant = predictions_of(random_predictions.emotion, neutral)
    summary = metrics.summarise({"audio": constant}, 0.5)
    assert summary["accuracy"] == summary["majority"] == 0.25
    assert summary["uar"] == pytest.approx(1 / 7, abs=1e-4) == summary["chance"]


def test_shuffled_labels_score_chance(random_predictions):
    generator = np.random.default_rng(1)
    scores = []
    for _ in range(400):
        shuffled = replace(
            random_predictions, emotion=generator.permutation(random_predictions.emotion)
        )
        scores.append(float(metrics.uar(metrics.confusion(shuffled))))
    # The mean over 400 seeds; one seed spreads by 1.6 points.
    assert np.mean(scores) == pytest.approx(1 / KINDS, abs=0.004)


def test_scores_agree_with_scikit_learn(random_predictions):
    truth, predicted = random_predictions.emotion, random_predictions.predicted
    counts = metrics.confusion(random_predictions)
    assert np.array_equal(counts, reference.confusion_matrix(truth, predicted))
    assert metrics.accuracy(counts) == pytest.approx(reference.accuracy_score(truth, predicted))
    assert metrics.uar(counts) == pytest.approx(reference.balanced_accuracy_score(truth, predicted))
    assert metrics.macro_f1(counts) == pytest.approx(
        reference.f1_score(truth, predicted, average="macro")
    )
    table = reference.precision_recall_fscore_support(truth, predicted)
    ours = [
        (r.precision, r.recall.value, r.f1, r.clips)
        for r in metrics.per_emotion(random_predictions)
    ]
    assert np.allclose(np.array(ours).T, table)
    probabilities = random_predictions.probabilities
    assert calibration.nll(random_predictions) == pytest.approx(
        reference.log_loss(truth, probabilities)
    )
    assert calibration.brier(random_predictions) == pytest.approx(
        reference.brier_score_loss(truth, probabilities, scale_by_half=False)
    )


def test_emotion_missing_from_the_test_clips_leaves_uar_to_the_others():
    some = predictions_of([0, 0, 1, 1], np.eye(3)[[0, 0, 1, 2]])
    counts = metrics.confusion(some)
    assert metrics.uar(counts) == 0.75
    assert "recall" not in metrics.summarise({"av": some}, 0.5)["emotions"]["fear"]
    json.dumps(metrics.summarise({"av": some}, 0.5), allow_nan=False)


def test_mcnemar_by_hand():
    """Six clips only ours is right on, one only the other: 2 * (1 + 7) / 2**7."""
    truth = np.zeros(10, dtype=int)
    ours = predictions_of(truth, np.eye(2)[[0, 0, 0, 0, 0, 0, 1, 0, 1, 1]])
    other = predictions_of(truth, np.eye(2)[[1, 1, 1, 1, 1, 1, 0, 0, 1, 1]])
    assert mcnemar(ours, other) == mcnemar(other, ours) == 2 * 8 / 128


def test_calibration_by_hand():
    """Confidences 0.9, 0.9, 0.6, 0.6, of which right: both, one."""
    rows = predictions_of([0, 0, 0, 1], [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert calibration.ece(rows) == pytest.approx(0.1)
    filled = [row for row in calibration.reliability(rows) if row.clips]
    assert [(row.clips, row.accuracy) for row in filled] == [(2, 0.5), (2, 1.0)]
    assert calibration.brier(rows) == pytest.approx((2 * 0.02 + 0.32 + 0.72) / 4)
    curve = calibration.risk_coverage(rows)
    # The two at 0.6 share their mean error of one half, in whichever order they come.
    assert curve.risk == pytest.approx([0, 0, 1 / 6, 1 / 4])
    assert curve.area == pytest.approx((1 / 6 + 1 / 4) / 4)
    answered = calibration.abstention(rows, below=0.7)
    assert (answered.answered, answered.coverage, answered.accuracy.value) == (2, 0.5, 1)


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_ece_agrees_with_torchmetrics(random_predictions, bins):
    """The package needs torch, which `pipeline` does without: a reference, no requirement."""
    expected = multiclass_calibration_error(
        torch.from_numpy(random_predictions.probabilities),
        torch.from_numpy(random_predictions.emotion),
        num_classes=KINDS,
        n_bins=bins,
    )
    assert calibration.ece(random_predictions, bins) == pytest.approx(float(expected), abs=1e-6)


def test_summary_compares_the_fused_branch_with_each_other(random_predictions):
    worse = predictions_of(random_predictions.emotion, np.eye(KINDS)[np.zeros(480, dtype=int)])
    summary = metrics.summarise({"av": random_predictions, "audio": worse}, 0.5)
    gain = summary["versus_audio"]
    assert gain["accuracy_gain"] == pytest.approx(
        summary["accuracy"] - summary["branches"]["audio"]["accuracy"], abs=1e-4
    )
    assert gain["accuracy_gain_95"]["low"] > 0
    assert gain["mcnemar_p"] < 0.001


def test_summary_says_what_abstaining_leaves(random_predictions):
    kept = metrics.summarise({"av": random_predictions}, 0.0)["abstention"]
    strict = metrics.summarise({"av": random_predictions}, 0.6)["abstention"]
    sure = random_predictions.confidence >= 0.6
    assert kept["coverage"] == 1
    assert kept["accuracy"] == metrics.summarise({"av": random_predictions}, 0.6)["accuracy"]
    assert strict["coverage"] == pytest.approx(sure.mean(), abs=1e-4)
    assert strict["accuracy"] == pytest.approx(random_predictions.correct[sure].mean(), abs=1e-4)


def test_predictions_round_trip(tmp_path, random_predictions):
    path = tmp_path / "predictions.csv"
    own = ("joy", "contempt", "bored", "d", "c", "b", "a")  # neither canonical nor sorted
    random_predictions = replace(random_predictions, emotions=own)
    write_predictions(path, {"audio": random_predictions, "av": random_predictions})
    branches = read_predictions(path)
    assert list(branches) == ["av", "audio"]
    back = branches["av"]
    assert back.keys == random_predictions.keys
    assert back.emotions == own
    assert np.array_equal(back.predicted, random_predictions.predicted)
    assert np.allclose(back.probabilities, random_predictions.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clip00001", "clip00000", "clip clip00000 occurs twice in fold all"),
        ("audio,all,clip00001", "audio,all,clip00009", "clip00001 is only in one of the branches"),
        ("clip_id", "clip", "no column clip_id"),
        ("audio,", "smell,", "branch 'smell', expected one of av, audio, visual"),
        (",0.30000\n", ",0.90000\n", "probabilities of clip clip00000 sum to 1.600"),
        (",0.30000\n", ",nan\n", "got nan, expected a finite number"),
        (",disgust,anger,", ",joy,anger,", "emotion 'joy' has no p_ column"),
        (",0.70000,", ",much,", "could not convert string to float: 'much'"),
    ],
)
def test_table_that_does_not_join_is_refused(tmp_path, old, new, message):
    path = tmp_path / "predictions.csv"
    rows = predictions_of([0, 1], [[0.7, 0.3], [0.7, 0.3]])
    write_predictions(path, {"av": rows, "audio": rows})
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CorpusError, match=message):
        read_predictions(path)
