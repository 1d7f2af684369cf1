"""A window asked about from outside: a clip of a corpus, inputs that are known already."""

import pytest
import torch
from random_model import draw_clip, make_model
from tiny_media import make_sound

from models.recognition.faces import look
from models.recognition.inputs import InputReader
from models.recognition.recognizer import Recognizer
from models.recognition.windows import decoded_clip
from pipeline.clips import Clip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Recognizer.load(make_model(tmp_path_factory.mktemp("model")))


def test_a_clip_is_heard_in_its_own_sound_file_and_known_inputs_are_not_computed(
    model, tmp_path, monkeypatch
):
    video, audio = draw_clip(tmp_path / "a.avi"), make_sound(tmp_path / "a.wav", seconds=0.4)
    with decoded_clip(Clip("a", "", "", "", video, audio), True, model.card.inputs) as recording:
        (window,) = recording.windows()
        assert len(window.waveform) == pytest.approx(0.4 * 32_000, abs=1)
        looked = look(window, model.detector, model.card.inputs, every_frame=False)
        branch, _ = model.branch(window, looked)
        inputs = model.inputs(branch, window, looked)
        answer = model.answer(window, looked)
        monkeypatch.setattr(InputReader, "read", lambda *_: pytest.fail("computed again"))
        assert model.answer(window, looked, inputs) == answer
    audio = inputs["audio"].clone().requires_grad_()
    model.probabilities(branch, inputs | {"audio": audio})[0].backward()
    assert torch.isfinite(audio.grad).all() and audio.grad.abs().sum() > 0
