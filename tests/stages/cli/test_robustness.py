"""`avemo robustness` from the command line: which clips, which conditions, what is left out."""

import csv
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from random_model import EMOTIONS, draw_clip, make_model
from tiny_media import cut
from typer.testing import CliRunner

from pipeline.clips import ClipRecord, write_clips
from pipeline.errors import CorpusError
from pipeline.scores.predictions import Predictions, write_predictions
from pipeline.work.executors import executors_from
from stages.cli.app import app
from stages.cli.robustness import test_clips as clips_of_fold


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    return tmp_path


def robustness(*arguments):
    with executors_from(ThreadPoolExecutor):
        return CliRunner().invoke(app, ["robustness", *map(str, arguments)])


def test_recordings_are_answered_and_those_that_cannot_be_are_named(model, project):
    own = project / "own"
    for seed, place in enumerate(("anna/anger/one", "ben/happiness/two", "ben/sadness/three")):
        draw_clip(own / f"{place}.avi", EMOTIONS[seed % 2], seed)
    cut(draw_clip(own / "ben/anger/cut.avi", "anger", 9), 0.4)
    command = (own, "--model", model, "--conditions", "white,no_sound,pgd_picture", "--quick")
    result = robustness(*command)
    assert result.exit_code == 0, result.output
    assert "robustness: 2 clips, 2 left out, 3 conditions, file://" in result.output
    assert "left out: ben_sadness_three: sadness, which the model does not know" in result.stderr
    assert "left out: ben_anger_cut: " in result.stderr and "cut.avi: cut short" in result.stderr
    with (project / "results/robustness.csv").open(newline="", encoding="utf-8") as stream:
        rows = [(row["condition"], row["severity"]) for row in csv.DictReader(stream)]
    assert rows == [
        ("clean", ""), ("white", "20 dB"), ("white", "0 dB"), ("no_sound", "missing"),
        ("pgd_picture", "2/255"), ("pgd_picture", "8/255"),
    ]  # fmt: skip
    written = {path: path.read_bytes() for path in (project / "results").iterdir()}
    assert {path.suffix for path in written} == {".csv", ".json", ".html"}
    assert robustness(*command).exit_code == 0
    assert {path: path.read_bytes() for path in (project / "results").iterdir()} == written


def test_a_model_is_not_tried_where_it_reads_nothing(project):
    draw_clip(project / "own/anna/anger/one.avi")
    names = "clipping,babble,blur,no_sound,fgsm_both"
    result = robustness(project / "own", "--model", "pretrained", "--conditions", names)
    assert result.exit_code == 0, result.output
    found = json.loads((project / "results/robustness.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in found["conditions"]] == ["clipping"]
    assert found["absent"] == {
        "Babble": "there is no other clip to take voices from",
        "Blur": "the model reads no picture",
        "No sound": "the model reads nothing but sound",
        "FGSM on both": "the model reads no picture",
    }
    assert found["clean"]["sigma_px"] is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--model", "pretrained"), "pack.clips: all: the model has learned from every clip"),
        (("none",), "none: no such folder"),
        (("own", "--conditions", "hail"), "--conditions: got 'hail', expected some of white, pink"),
        (("own",), "no clip shows one of the model's emotions, anger, happiness"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(model, project, arguments, problem):
    draw_clip(project / "own/anna/fear/one.avi")
    named = () if "--model" in arguments else ("--model", model)
    result = robustness(*arguments, *named)
    assert result.exit_code == 1
    assert problem in str(result.exception)


def test_test_clips_are_those_of_the_model_s_fold_as_the_stages_left_them(project):
    records = [
        ClipRecord(name, "A", emotion, "", 2, 25.0, 2, 64, 48, samples, 48_000)
        for name, emotion, samples in (("a", "anger", 9), ("b", "fear", 0), ("c", "fear", 9))
    ]
    write_clips(project / "data/clips.csv", records)
    with pytest.raises(CorpusError, match="no such file; run `dvc repro`"):
        clips_of_fold("one")
    p = np.full((3, 2), 0.5)
    tested = Predictions(
        ("anger", "fear"), ("one", "one", "two"), ("a", "b", "c"), ("A",) * 3, ("",) * 3,
        np.array([0, 1, 1]), np.array([0, 0, 0]), p[:, 0], p,
    )  # fmt: skip
    write_predictions(project / "results/predictions.csv", {"av": tested})
    with pytest.raises(CorpusError, match="no test clip of fold three, whose model this is"):
        clips_of_fold("three")
    first, second = clips_of_fold("one")
    assert (first.clip_id, first.emotion, first.source.times_s) == ("a", "anger", (0, 0.08))
    assert [path.name for path in first.source.frames] == ["a_00000.jpg", "a_00001.jpg"]
    assert first.source.sound.name == "a.wav" and second.source.sound is None
