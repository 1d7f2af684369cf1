"""What an earlier version left: each finding says what to change, and that is enough."""

import re
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from models.recognition.recognizer import Recognizer
from models.saved_model import PRETRAINED, SCHEMA
from pipeline.errors import WeightsError
from pipeline.presets import preset_values
from stages.cli.check import params_findings

OLD_PARAMS = Path(__file__).parent / "upgrades" / "params.yaml"
"""Of version 0.1.0."""


def test_params_of_before_are_valid_once_their_findings_are_followed(tmp_path):
    yaml, path = YAML(), tmp_path / "params.yaml"
    params, demo = yaml.load(OLD_PARAMS.read_text(encoding="utf-8")), preset_values("demo")
    moved = []
    for finding in params_findings(OLD_PARAMS):
        place = finding.partition(": ")[2].partition(": ")[0]
        section, _, key = (
            place.removeprefix("section `").partition("` is missing")[0].partition(".")
        )
        if "is missing" in finding:
            params[section] = demo[section]
        elif "missing; see presets/demo.yaml" in finding:
            params[section][key] = demo[section][key]
        else:
            moved.append((place, re.search(r": is (.*) now; move", finding)[1]))
            params.pop(section) if not key else params[section].pop(key)
    yaml.dump(params, path)
    assert params_findings(path) == []
    assert ("fusion.seed", "training.seed") in moved
    assert ("calibrate", "section inner_folds") in moved


def test_a_model_of_another_version_says_how_to_make_it_again(tmp_path):
    folder = shutil.copytree(PRETRAINED, tmp_path / "model")
    card = folder / "model.json"
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace(f'"schema_version": {SCHEMA}', '"schema_version": 1'))
    with pytest.raises(WeightsError, match="version 1, expected 3; run `dvc repro pack` again"):
        Recognizer.load(folder)
