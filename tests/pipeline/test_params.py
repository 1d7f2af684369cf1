import json
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params import Count, LossWeight, Section, Seed, load_section, read_params, validate
from pipeline.systems import load_system


class Loss(Section):
    alpha: LossWeight
    beta: LossWeight
    kind: Literal["l1", "l2"] = "l1"


class Training(Section):
    epochs: Count
    seed: Seed
    voting: bool
    hidden: tuple[int, int]
    table: Path


FINE = {"epochs": 3, "seed": 0, "voting": True, "hidden": [1, 2], "table": "folds.csv"}


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_section_is_read_and_typed(tmp_path):
    path = write(tmp_path, "system: av_cnn\nloss: {alpha: 1e-4, beta: 1}\n")
    assert load_section("loss", Loss, path) == Loss(alpha=1e-4, beta=1.0)
    assert load_system(path) == "av_cnn"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("loss: {alhpa: 1, beta: 1}", "loss.alhpa: unknown key; expected one of alpha, beta"),
        ("loss: {alpha: -1, beta: 1}", "loss.alpha: got -1; Input should be greater than"),
        ("loss: {alpha: .inf, beta: 1}", "loss.alpha: got inf; Input should be a finite number"),
        ("loss: {alpha: .nan, beta: 1}", "loss.alpha: got nan; Input should be a finite number"),
        ("loss: {alpha: '1', beta: 1}", "loss.alpha: got '1'; Input should be a valid number"),
        ("loss: {alpha: true, beta: 1}", "loss.alpha: got True; Input should be a valid number"),
        ("loss: {alpha: 1:30, beta: 1}", "loss.alpha: got '1:30'; Input should be a valid number"),
        ("loss: {alpha: 2001-01-01, beta: 1}", "loss.alpha: got '2001-01-01'"),
        ("loss: {beta: 1}", "loss.alpha: missing"),
        ("loss: {alpha: 1, beta: 1, kind: l3}", "loss.kind: got 'l3', expected 'l1' or 'l2'"),
        ("loss: {alpha: 010, beta: 1}", "line 1: got '010', which is octal to some readers"),
        ("loss:\n  alpha: 1\n  alpha: 2", 'line 3: not valid YAML (found duplicate key "alpha"'),
        ("fuse: {}", "section `loss` is missing"),
        ("loss: [1", "not valid YAML"),
        ("- a", "got list, expected sections"),
        ("", "got NoneType, expected sections"),
        ("loss: " + "[" * 2_000 + "]" * 2_000, "nested too deeply"),
        ("loss: &a [*a]", "nested too deeply"),
        ("loss: " + "9" * 5_000, "not valid YAML"),
        ("loss: !!float x", "not valid YAML"),
        ("# grün\nloss: {}".encode("latin-1"), "not UTF-8"),
        ("loss: {}".encode("utf-16"), "not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, says):
    with pytest.raises(ParamsError) as caught:
        load_section("loss", Loss, write(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", True),
        ("epochs", 1e20),
        ("epochs", 1.5),
        ("epochs", "3"),
        ("epochs", None),
        ("seed", 2**64),
        ("seed", -1),
        ("voting", "yes"),
        ("voting", 1),
        ("hidden", [1, 2, 3]),
        ("hidden", "12"),
        ("table", 1),
    ],
)
def test_values_of_another_type_or_size_are_refused(key, value):
    with pytest.raises(ParamsError, match=f"training.{key}"):
        validate("training", {**FINE, key: value}, Training, Path("params.yaml"))


def test_whole_numbers_may_be_written_as_floats():
    assert validate("training", {**FINE, "epochs": 1e1}, Training, Path()).epochs == 10


def test_a_folder_in_the_place_of_the_file_is_one_line(tmp_path):
    with pytest.raises(ParamsError, match="cannot be read"):
        read_params(tmp_path)


@given(st.dictionaries(st.text("abc", min_size=1), st.integers() | st.floats(allow_nan=False)))
def test_values_are_those_that_dvc_reads(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(json.dumps({"section": values}))
    assert read_params(path) == YAML(typ="safe").load(path.read_text())


def test_a_reader_sees_what_the_file_says_now_and_nothing_of_other_readers(tmp_path):
    path = write(tmp_path, "demo: {seed: 1}")
    read_params(path)["demo"]["seed"] = 2
    assert read_params(path) == {"demo": {"seed": 1}}
    path.write_text("demo: {seed: 3}", encoding="utf-8")
    assert read_params(path) == {"demo": {"seed": 3}}


def test_an_unknown_system_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="system: got 'av_rnn', expected one of audio_cnn"):
        load_system(write(tmp_path, "system: av_rnn"))
    with pytest.raises(ParamsError, match="system: got \\['av_cnn'\\]"):
        load_system(write(tmp_path, "system: [av_cnn]"))
