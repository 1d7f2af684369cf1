"""`avemo export` of an untrained model: its graphs, and the example where torch is not."""

import json
import re
import subprocess
import sys
import venv
import wave
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from random_model import DETECTOR, EMOTIONS, draw_clip, make_model
from tiny_media import make_sound
from torch import nn
from typer.testing import CliRunner

from models.export import folder
from models.export.folder import first_window
from models.export.graph import TOLERANCE, Graph
from models.recognition.recognizer import Recognizer
from models.saved_model import PRETRAINED, WORDS
from models.systems.registry import ROWS_OF, row
from pipeline.errors import ExportError
from pipeline.files import file_digest
from stages.cli import export
from stages.cli.app import app


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return draw_clip(tmp_path_factory.mktemp("clip") / "clip.avi")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def exported(model, clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "onnx"
    command = ["export", str(out), "--model", str(model), "--clip", str(clip)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert "av_faster_rcnn as 5 graphs, frames of 160x128 px" in done.stdout
    return out


def test_all_graphs_agree_with_torch_and_the_card_tells_all(exported):
    card = json.loads((exported / "model.json").read_text())
    heads = {"fusion", "audio_head", "visual_head"}
    assert card["differences"].keys() == {"whisper_tiny_en", "detector"} | heads
    assert 0 < max(card["differences"].values()) <= TOLERANCE
    assert card["emotions"] == list(EMOTIONS) and card["frames"] == DETECTOR.frames_per_clip
    assert card["files"] == {
        path.name: file_digest(path) for path in exported.iterdir() if path.name != "model.json"
    }


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """The model that comes with the package as graphs."""
    out = tmp_path_factory.mktemp("heard") / "onnx"
    export.main(out, "pretrained", None)
    return out


def test_licences_and_the_card_in_words_travel_with_the_graphs(heard):
    assert "CC BY-NC-SA 4.0" in (heard / "LICENSE").read_text()
    assert "Copyright (c) 2022 OpenAI" in (heard / "whisper_tiny_en.LICENSE").read_text()
    assert (heard / WORDS).read_text() == (PRETRAINED / WORDS).read_text()
    assert {"LICENSE", WORDS} < json.loads((heard / "model.json").read_text())["files"].keys()


def refusal(folder, *arguments):
    command = [sys.executable, folder / "example.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    return done.stderr


def test_the_example_says_in_one_line_what_it_cannot_take(heard, tmp_path):
    assert json.loads((heard / "model.json").read_text())["longest_s"] == 10
    assert len((heard / "example.py").read_text().splitlines()) <= 40
    expected = "nothing to answer from: expected sound, or frames that show a face\n"
    assert refusal(heard) == expected
    long = tmp_path / "long.wav"
    with wave.open(str(long), "wb") as file:
        file.setparams((1, 2, 32_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 320_001))
    expected = f"{long}: expected mono, 16 bits, 32000 Hz, 0.1 to 10 s\n"
    assert refusal(heard, long) == expected


def test_the_systems_that_are_refused_are_those_that_the_page_names():
    page = (Path(folder.__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"\(([^()]*)\) are refused", page)
    patterns = re.findall(r"`(\S+)`", named)
    known = set(folder.HEADS["av"][1])
    refused = {name for name in ROWS_OF if not known.issuperset(row(name).inputs)}
    assert refused == {n for n in ROWS_OF if any(fnmatch(n, pattern) for pattern in patterns)}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python with onnxruntime and numpy alone."""
    place = tmp_path_factory.mktemp("bare")
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for package in (onnxruntime, np):
        source = Path(package.__file__).parent
        for part in (source, source.with_name(f"{source.name}.libs")):
            if part.is_dir():
                (packages / part.name).symlink_to(part)
    return place / "bin" / "python"


def ask(python, folder, *arguments):
    command = [python, "-I", folder / "example.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_example_answers_as_avemo_where_there_is_no_torch(
    exported, model, clip, bare, tmp_path
):
    assert subprocess.run([bare, "-I", "-c", "import torch"], capture_output=True).returncode
    recognizer = Recognizer.load(model)
    pictures, sound = first_window(recognizer, clip)
    (tmp_path / "frames.rgb").write_bytes(np.stack(list(pictures.values())).tobytes())
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 32_000, 0, "NONE", ""))
        file.writeframes((sound * 32768).round().astype("<i2").tobytes())
    answer = recognizer.predict(clip)
    shown = ask(bare, exported, tmp_path / "sound.wav", tmp_path / "frames.rgb")
    found = {emotion: float(p) for emotion, p in re.findall(r"^(\w+) +([\d.]+)$", shown, re.M)}
    assert found == pytest.approx(answer.probabilities, abs=2e-4)
    assert shown.endswith(f"fusion: {answer.emotion}\n")
    boxes = re.findall(r"^face \[(.*?)\]", shown, re.M)
    expected = [face.box for face in answer.faces]
    assert [[*map(float, box.split())] for box in boxes] == [
        pytest.approx(box, abs=0.11) for box in expected
    ]
    assert "audio_head: " in ask(bare, exported, tmp_path / "sound.wav")
    assert "visual_head: " in ask(bare, exported, tmp_path / "frames.rgb")


def test_a_graph_that_differs_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    class Twice(nn.Module):
        def forward(self, waveform):
            return 2 * waveform

    values = np.linspace(0, 1, 5, dtype=np.float32)
    graph = Graph(
        "twice", Twice(), ("sound",),
        lambda trial: [torch.from_numpy(2 * trial["waveform"] + 3e-4)], [{"waveform": values}],
    )  # fmt: skip
    monkeypatch.setattr(folder, "graphs_of", lambda *_: [graph])
    monkeypatch.setattr(folder, "_sample", lambda *_: None)
    with pytest.raises(ExportError, match=r"twice\.onnx: output sound of waveform \[5\] differs"):
        folder.export_model(of_system("audio_cnn"), tmp_path, tmp_path / "out", None)
    assert not any(tmp_path.iterdir())


def of_system(name):
    return SimpleNamespace(card=SimpleNamespace(system=name), reads=row(name).inputs)


def test_what_cannot_be_exported_is_one_clear_line(model, tmp_path, monkeypatch):
    with pytest.raises(ExportError, match="exists already; remove it"):
        folder.export_model(of_system("audio_cnn"), tmp_path, tmp_path, None)
    out = tmp_path / "out"
    with pytest.raises(ExportError, match="reads crops and windows, which no graph computes"):
        folder.export_model(of_system("av_dnn"), tmp_path, out, None)
    with pytest.raises(ExportError, match="--clip: got none; expected a recording whose frames"):
        export.main(out, str(model), None)
    silent = make_sound(tmp_path / "voice.wav", 0.4)
    with pytest.raises(ExportError, match=r"--clip: \S+voice.wav has no picture; expected"):
        export.main(out, str(model), silent)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r'onnxruntime not installed; run `pip install "avemo'):
        export.main(out, str(model), None)
    assert not out.exists()
