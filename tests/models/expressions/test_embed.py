"""Faces of detectors' clips through a frozen encoder: what is cut out, and what is written."""

import cv2
import numpy as np
import pytest
import torch

from annotations.box import Box
from models.checkpoint import load_safetensors, save_safetensors
from models.expressions.embed import crop_face, embed_all, embed_clip
from models.expressions.encoders import load_encoder, resolve
from models.expressions.params import FacesParams
from pipeline.clips import frame_name
from pipeline.media.images import read_image

NAME = "fer_mini_xception"
BOX = Box(20.0, 10.0, 50.0, 50.0)


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize(("margin", "corners"), [(0.0, (15, 10, 55, 50)), (0.1, (11, 6, 59, 54))])
def test_a_crop_is_a_square_with_its_margin(margin, corners):
    x1, y1, x2, y2 = corners
    np.testing.assert_array_equal(crop_face(picture(0), BOX, margin), picture(0)[y1:y2, x1:x2])


def test_beyond_the_picture_its_edge_is_repeated():
    crop = crop_face(picture(0), Box(0.0, 20.0, 20.0, 40.0), 0.5)
    assert crop.shape == (40, 40, 3)
    np.testing.assert_array_equal(crop[:, 10:], picture(0)[10:50, :30])
    np.testing.assert_array_equal(crop[:, :10], np.repeat(picture(0)[10:50, :1], 10, axis=1))


def test_each_detectors_faces_are_embedded(tmp_path, monkeypatch):
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    images = tmp_path / "voc" / "JPEGImages"
    images.mkdir(parents=True)
    for index in (0, 3):
        cv2.imwrite(str(images / f"{frame_name('c', index)}.jpg"), picture(index))
    shown = {
        "c/frames": torch.tensor([0, 3]),
        "c/boxes": torch.tensor([[0.0] * 4, [BOX.x1, BOX.y1, BOX.x2, BOX.y2]]),
        "c/scores": torch.tensor([0.0, 0.9]),
    }
    for fold, scores in (("a", shown["c/scores"]), ("b", torch.zeros(2))):
        save_safetensors(
            tmp_path / "face_features" / f"{fold}.safetensors", {**shown, "c/scores": scores}
        )
    params = FacesParams(embeddings=(NAME,), margin=0.1)
    out = tmp_path / "face_embeddings"
    embed_all(tmp_path / "face_features", tmp_path / "voc", out, params)
    faceless, faced = load_safetensors(out / "a.safetensors")[0][f"c/{NAME}"]
    frame = read_image(images / f"{frame_name('c', 3)}.jpg")
    expected = embed_clip(load_encoder(resolve(NAME)), [(frame, BOX)], 0.1)[0]
    torch.testing.assert_close(faced, expected, atol=1e-4, rtol=1e-4)
    assert faced[-7:].exp().sum().item() == pytest.approx(1)
    assert not faceless.any()
    assert not load_safetensors(out / "b.safetensors")[0][f"c/{NAME}"].any()
    again = embed_all(tmp_path / "face_features", tmp_path / "voc", out, params)
    assert again.cached == 2


def test_without_encoders_nothing_is_embedded(tmp_path):
    save_safetensors(tmp_path / "face_features/a.safetensors", {"c/frames": torch.tensor([0])})
    out = tmp_path / "face_embeddings"
    embed_all(tmp_path / "face_features", tmp_path, out, FacesParams(embeddings=(), margin=0.0))
    assert not list(out.glob("*.safetensors"))
