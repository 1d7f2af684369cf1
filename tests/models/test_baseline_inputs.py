import cv2
import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from annotations import voc
from models.baselines.inputs import (
    GREY,
    cepstrum_reader,
    crop_reader,
    evenly,
    frame_reader,
    frozen_features,
    snippet_reader,
    window_reader,
)
from models.data import Store
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import CorpusError, MediaError

FRAMES, WIDTH, HEIGHT = 5, 48, 32
BOX = voc.Box(8.0, 4.0, 24.0, 20.0)
FACES = {"seen": {0, 3}, "never": set()}
"""Stored frames whose annotation has a face, by clip."""
LENGTH_S = {"seen": 0.5, "never": 0.1}


def draw(clip_id, index, folder):
    """A frame of one grey value, its face another."""
    picture = np.full((HEIGHT, WIDTH, 3), 40 * index, np.uint8)
    picture[4:20, 8:24] = 255 - 40 * index
    name = frame_name(clip_id, index)
    cv2.imwrite(str(folder / "JPEGImages" / f"{name}.jpg"), picture)
    passer_by = voc.FaceObject(voc.Box(0.0, 0.0, 48.0, 32.0), primary=False)
    face = (voc.FaceObject(BOX),) if index in FACES[clip_id] else ()
    voc.write(
        folder / "Annotations" / f"{name}.xml",
        voc.Annotation(f"{name}.jpg", WIDTH, HEIGHT, (passer_by, *face)),
    )


@pytest.fixture
def store(tmp_path):
    for folder in ("voc/JPEGImages", "voc/Annotations", "audio32k"):
        (tmp_path / folder).mkdir(parents=True)
    records = []
    for clip_id, seconds in LENGTH_S.items():
        samples = int(32_000 * seconds)
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / 32_000)
        path = tmp_path / "audio32k" / f"{clip_id}.wav"
        soundfile.write(path, tone.astype(np.float32), 32_000, subtype="FLOAT")
        for index in range(FRAMES):
            draw(clip_id, index, tmp_path / "voc")
        size = (FRAMES, 25.0, 1, WIDTH, HEIGHT, samples, 32_000)
        records.append(ClipRecord(clip_id, "A", "anger", "", *size))
    return Store(tuple(records), tmp_path, tmp_path)


@pytest.mark.parametrize(("count", "length"), [(1, 5), (3, 5), (5, 5), (7, 5), (32, 1)])
def test_even_spacing_is_symmetric_and_covers_the_clip(count, length):
    places = evenly(count, length)
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
    with pytest.raises(CorpusError, match=r"seen\.wav: no sound of this clip"):
        window_reader(store, 2)("seen")
