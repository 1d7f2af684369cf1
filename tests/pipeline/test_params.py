from pathlib import Path

import pytest
from pydantic import Field

from pipeline.errors import ParamsError
from pipeline.params import Section, load_section
from pipeline.systems import load_system


class Loss(Section):
    alpha: float = Field(ge=0)
    beta: float = Field(ge=0)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
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
        ("loss: {beta: 1}", "loss.alpha: missing"),
        ("fuse: {}", "section `loss` is missing"),
        ("loss: [1", "not valid YAML"),
        ("- a", "got list, expected sections"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, says):
    with pytest.raises(ParamsError) as caught:
        load_section("loss", Loss, write(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_system_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="system: got 'av_rnn', expected one of audio_cnn"):
        load_system(write(tmp_path, "system: av_rnn"))
