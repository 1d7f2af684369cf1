"""A packed model: what its folder holds."""

import json

from random_model import make_model

from models.checkpoint import load_safetensors, save_safetensors
from models.model_card import describe
from models.saved_model import ENCODER, NETWORK, PRETRAINED, read_card, write_model


def test_the_licence_of_an_expression_encoder_travels_with_it(tmp_path):
    source = make_model(tmp_path)
    state, facts = load_safetensors(source / NETWORK)
    settings = json.loads(facts["settings"])
    settings["faces"]["embeddings"] = ["fer_mini_xception"]
    facts |= {"system": "visual_expression", "settings": json.dumps(settings)}
    network = tmp_path / "expression.safetensors"
    save_safetensors(network, state, facts)
    card = read_card(source)
    out = tmp_path / "packed"
    write_model(out, (network, None), card.inputs, "demo", card.metrics)
    place = out / ENCODER.format(0)
    assert "Copyright (c) 2018 Justin Shenk" in (place / "LICENSE").read_text()
    assert f"{place.name}/LICENSE" in read_card(out).files


def test_the_card_says_why_a_confidence_is_not_calibrated():
    card = read_card(PRETRAINED)
    for count, reason in (
        (0, "`inner_folds.count: 0`"),
        (2, "no part of its training clips could be held out"),
    ):
        settings = card.settings | {"inner_folds": {"count": count, "seed": 0}}
        plain = card.model_copy(update={"pools": {}, "settings": settings})
        assert f"Its confidence is not calibrated ({reason})." in describe(plain)
