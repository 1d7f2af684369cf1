"""Bring the card of the model that comes with the package up to today's `params.yaml`.

    python -m benchmarks.pretrained

A key that `params.yaml` has gained is filled in as `presets/ravdess_speech.yaml` has it, one that
it has lost is dropped; the weights stay. Where a change means other weights or inputs, train
anew, see docs/models.md: `tests/models/test_pretrained.py` holds what the model answers.
"""

import json
from dataclasses import fields
from typing import Any

from models.model_card import ModelCard, describe
from models.saved_model import CARD, PRETRAINED, SCHEMA, WORDS, read_card
from models.systems.params import Settings
from pipeline.files import atomic_write
from pipeline.presets import preset_values

PRESET = "ravdess_speech"


def renewed(old: Any, today: Any) -> Any:
    """`today`'s keys, with the values of `old` where it has them."""
    if not isinstance(today, dict) or not isinstance(old, dict):
        return old
    return {key: renewed(old[key], today[key]) if key in old else today[key] for key in today}


def main() -> None:
    content = json.loads((PRETRAINED / CARD).read_text(encoding="utf-8"))
    preset = preset_values(PRESET)
    settings = {one.name: preset[one.name] for one in fields(Settings)}
    content["settings"] = renewed(content["settings"], settings)
    for name in content["inputs"].keys() - {"detector"}:  # it has none
        content["inputs"][name] = renewed(content["inputs"][name], preset[name])
    card = ModelCard.model_validate(content | {"schema_version": SCHEMA})
    for name, text in ((CARD, card.model_dump_json(indent=2) + "\n"), (WORDS, describe(card))):
        with atomic_write(PRETRAINED / name) as part_file:
            part_file.write_text(text, encoding="utf-8")
    read_card(PRETRAINED)


if __name__ == "__main__":
    main()
