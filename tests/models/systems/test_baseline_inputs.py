import pytest
import torch
from drawn_clips import draw_store
from torch import nn

from models.systems.baselines.inputs import (
    GREY,
    cepstrum_reader,
    crop_reader,
    frame_reader,
    frozen_features,
    snippet_reader,
    window_reader,
)
from pipeline.clips import evenly_spaced
from pipeline.errors import MediaError

FACES = {"seen": {0, 3}, "never": set()}
"""Stored frames whose annotation has a face, by clip."""
LENGTH_S = {"seen": 0.5, "never": 0.1}


@pytest.fixture
def store(tmp_path):
    return draw_store(tmp_path, dict.fromkeys(FACES, "anger"), FACES, LENGTH_S)


@pytest.mark.parametrize(("count", "length"), [(1, 5), (3, 5), (5, 5), (7, 5), (32, 1)])
def test_even_spacing_is_symmetric_and_covers_the_clip(count, length):
    places = evenly_spaced(length, count)
    assert len(places) == count and places == sorted(places)
    assert 0 <= places[0] and places[-1] < length
    if count >= length:
        assert set(places) == set(range(length))


def test_frames_are_whole_pictures_in_order(store):
    frames = frame_reader(store, 5, 32)("seen")
    assert frames.shape == (5, 3, 32, 32) and frames.dtype == torch.uint8
    corner = frames[:, :, -4:, -4:].float().mean(dim=(1, 2, 3))
    assert torch.allclose(corner, 40.0 * torch.arange(5), atol=3)


def test_a_frame_without_a_face_takes_the_nearest_one(store):
    crops = crop_reader(store, 5, 32)("seen").float()
    nearest = torch.tensor([0, 0, 3, 3, 3])
    assert torch.allclose(crops.mean(dim=(1, 2, 3)), 255.0 - 40 * nearest, atol=4)


def test_a_clip_without_faces_is_grey_and_said(store, caplog):
    crops = crop_reader(store, 2, 32)("never")
    assert (crops == torch.tensor(GREY, dtype=torch.uint8)[:, None, None]).all()
    assert "never: no frame shows a face" in caplog.text


def test_snippets_span_the_clip(store):
    snippets = snippet_reader(store, 2, 32)("seen")
    assert snippets.shape == (2, 16, 3, 32, 32)
    assert torch.equal(snippets[0, 0], frame_reader(store, 5, 32)("seen")[0])
    assert torch.equal(snippets[1, -1], frame_reader(store, 5, 32)("seen")[4])


@pytest.mark.parametrize("clip_id", LENGTH_S)
def test_windows_of_sound_are_standardised_and_of_one_shape(store, clip_id):
    windows = window_reader(store, 12)(clip_id)
    assert windows.shape == (12, 640) and windows.dtype == torch.float32
    if clip_id == "seen":  # a tone: variance 1 over whole periods
        assert windows.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("clip_id", LENGTH_S)
def test_cepstra_repeat_a_short_clip_and_span_a_long_one(store, clip_id):
    cepstra = cepstrum_reader(store, 3, 16)(clip_id)
    assert cepstra.shape == (3, 16, 32) and cepstra.isfinite().all()
    whole = cepstrum_reader(store, 1, 51)("seen")[0]
    assert torch.equal(cepstrum_reader(store, 3, 10)("seen")[2], whole[-10:])


def test_frozen_features_are_computed_once(store):
    calls = []

    class Trunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, pictures):
            calls.append(len(pictures))
            return self.scale * pictures.float().mean(dim=(2, 3))

    read = frozen_features(Trunk(), frame_reader(store, 5, 32))
    first = read("seen")
    assert first.shape == (5, 3) and not first.requires_grad
    assert torch.equal(read("seen"), first) and calls == [5]


def test_what_is_missing_is_named(store):
    (store.voc / "JPEGImages" / "seen_00002.jpg").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"seen_00002\.jpg: not a readable image"):
        frame_reader(store, 5, 32)("seen")
    (store.audio32k / "seen.wav").unlink()
    with pytest.raises(MediaError, match=r"seen\.wav: not a sound file"):
        window_reader(store, 2)("seen")
