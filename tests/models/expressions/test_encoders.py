"""Expression encoders of one's own: a folder of an image classifier, here a tiny one."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from models.checkpoint import load_safetensors
from models.expressions.encoders import load_encoder, resolve
from pipeline.errors import WeightsError


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
        image_size=16, patch_size=8, num_labels=5,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_folder_gives_the_mean_state_and_the_answer_of_its_classifier(folder):
    crops = [np.random.default_rng(n).integers(0, 256, (16, 16, 3), np.uint8) for n in range(3)]
    with torch.no_grad():
        features, logits = load_encoder(resolve(str(folder)))(crops)
        inputs = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 127.5 - 1
        network = ViTForImageClassification.from_pretrained(folder).eval()
        expected = network(inputs, output_hidden_states=True)
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(features, expected.hidden_states[-1].mean(dim=1), atol=1e-5, rtol=0)


def test_what_is_no_encoder_is_refused(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"faces\.embeddings: .*no such file; expected fer_mini"):
        resolve(str(tmp_path / "absent"))
    state = load_safetensors(folder / "model.safetensors")[0]
    del state["classifier.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"1 parameters missing, first classifier\.weight"):
        load_encoder(resolve(str(folder)))
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="vit: not an image classifier"):
        load_encoder(resolve(str(folder)))
