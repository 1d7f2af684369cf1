"""Figures, words and page of robustness, from answers made up so that the truth is known."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.robustness.answers import CLEAN, Answer, read_answers, write_answers
from pipeline.report.robustness.figures import (
    AnsweredClip,
    LeftOut,
    Robustness,
    Scorer,
    Tried,
    kendall,
)
from pipeline.report.robustness.page import render, write_robustness
from pipeline.report.robustness.words import findings
from pipeline.scores.intervals import wilson

EMOTIONS = ("anger", "fear", "happiness")
CLIPS = 12
NOISE = Tried("white", "White noise", "sound", ("20 dB", "0 dB"))
BLUR = Tried("blur", "Blur", "picture", ("1% of the face", "8% of the face"))
GONE = Tried("no_sound", "No sound", "missing", ("missing",))


def answer(label, confidence, right=True, sigma_px=2.0):
    p = [(1 - confidence) / 2] * 3
    p[label if right else (label + 1) % 3] = confidence
    return Answer(tuple(p), "av", 1.0, sigma_px)


def clips():
    """Noise makes all wrong and lowers the confidence; blur raises sigma alone."""
    found = []
    for number in range(CLIPS):
        label = number % 3
        answers = {
            CLEAN: [answer(label, 0.9)],
            "white": [answer(label, 0.8, number > 5), answer(label, 0.7, right=False)],
            "blur": [answer(label, 0.9, sigma_px=3.0), answer(label, 0.9, sigma_px=4.0)],
            "no_sound": [replace(answer(label, 0.95, number < 3), branch="visual")],
        }
        found.append(AnsweredClip(f"c{number:02d}", f"S{number % 2}", label, answers))
    return found


def robustness(found=None, tried=(NOISE, BLUR, GONE)):
    found = found or clips()
    scorer = Scorer(found, EMOTIONS, "av", 0.75)
    return Robustness(
        system="av_faster_rcnn", corpus="demo", audio_weights="untrained", emotions=EMOTIONS,
        source="the test clips of fold paper", branch="av", clips=len(found), speakers=2, learned=0,
        abstain_below=0.75, seed=0, clean=scorer.clean(),
        conditions=tuple(scorer.tested(one) for one in tried),
        absent={"FGSM on sound": "no gradient is known"},
        left_out=(LeftOut(clip_id="<b>c99", reason="damaged"),),
    )  # fmt: skip


def test_figures_are_those_of_the_answers():
    found = robustness()
    white = found.conditions[0].severities
    assert (found.clean.accuracy, found.clean.abstained, found.clean.change) == (1, 0, 0)
    assert [one.accuracy for one in white] == [0.5, 0]
    half = wilson(6, 12)
    assert white[0].accuracy_95.low == pytest.approx(half.low, abs=1e-4)
    assert white[1].change == -1 and white[1].change_95.high < 0
    assert [one.abstained for one in white] == [0, 1]
    assert white[1].nll == pytest.approx(-np.log(0.15), abs=1e-4)
    assert white[1].ece == white[1].confidence == 0.7
    assert found.conditions[1].severest.sigma_px == 4
    assert found.conditions[2].severest.by_other_branch == 1


def test_a_clip_without_an_answer_counts_as_wrong_and_as_a_uniform_guess():
    none = [
        replace(clip, answers={**clip.answers, "white": [Answer(None, "", 0.0, None)] * 2})
        for clip in clips()
    ]
    severest = robustness(none, (NOISE,)).conditions[0].severest
    assert (severest.accuracy, severest.unanswered, severest.abstained) == (0, 1, 1)
    assert severest.nll == pytest.approx(np.log(3), abs=1e-4)
    assert severest.face_share == 0 and severest.sigma_px is None


@pytest.mark.parametrize(
    ("values", "tau"), [((1, 2, 3), 1), ((3, 2, 1), -1), ((1, 3, 2), 1 / 3), ((1, 1, 2), 2 / 3)]
)
def test_kendall_counts_rises_less_falls(values, tau):
    assert kendall(values) == pytest.approx(tau)


def test_trends_say_what_moves_and_nothing_of_what_never_does():
    white, blur, gone = robustness().conditions
    assert (white.confidence.tau, white.confidence.direction) == (-1, "falls")
    assert white.sigma is None and blur.confidence is None
    assert (blur.sigma.tau, blur.sigma.direction, blur.sigma.clips) == (1, "rises", CLIPS)
    assert gone.confidence.direction == "rises"


def test_findings_follow_from_the_figures():
    text = " ".join(findings(robustness()))
    assert "severest degree of 2 of 3 conditions (White noise, No sound)" in text
    assert "falls with severity in 1 (White noise) and rises with severity in 1 (No sound)" in text
    assert "confidence falls too in 1 of 2 conditions" in text
    assert "most under White noise (0 dB): 70% confident, 0% right" in text
    assert "Sigma of the face's box falls with severity in 0 and rises" in text


def test_figures_and_page_are_written_the_same_each_time(tmp_path):
    page = write_robustness(tmp_path, robustness())
    text = page.read_text(encoding="utf-8")
    assert render(robustness()) == text
    assert "Demo corpus" in text and "&lt;b&gt;c99" in text and "<b>c99" not in text
    assert text.count("<svg") == 4 and "http" not in text.replace("http://www.w3.org", "")
    again = Robustness.model_validate_json((tmp_path / "robustness.json").read_text("utf-8"))
    assert again == robustness()
    with (tmp_path / "robustness.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["condition"] for row in rows] == [
        CLEAN,
        "white",
        "white",
        "blur",
        "blur",
        "no_sound",
    ]
    assert float(rows[2]["change_low"]) == robustness().conditions[0].severest.change_95.low


def test_answers_are_read_as_written(tmp_path):
    answers = {CLEAN: [answer(1, 0.5)], "white": [Answer(None, "", None, None)]}
    write_answers(tmp_path / "answers.json", answers)
    assert read_answers(tmp_path / "answers.json") == answers
    assert json.loads((tmp_path / "answers.json").read_text())["white"][0]["branch"] == ""
