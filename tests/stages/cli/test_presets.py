import re

import pytest
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params import read_params
from pipeline.systems import SYSTEMS
from stages.cli.check import SECTIONS, require_valid
from stages.cli.presets import apply_preset


def test_every_preset_is_valid_and_embeds_what_its_system_reads(settings):
    require_valid()
    for source in sorted((settings / "presets").glob("*.yaml")):
        apply_preset(source.stem, settings)
        require_valid()
        params = read_params()
        assert params["corpus"]["root"] == str(settings)
        networks = set(params["embed"]["networks"])
        needed = set(SYSTEMS[params["system"]].audio_networks(params["audio"]["embeddings"]))
        assert needed <= networks
        if params["embed"]["weights"] == "published":
            assert networks == needed, "others would be fetched for nothing"


def test_the_first_preset_states_every_key(settings):
    """So nothing of an earlier experiment stays, whichever preset is applied."""
    assert read_params(settings / "presets" / "demo.yaml") == read_params()


def test_a_preset_forgets_every_earlier_change(settings):
    apply_preset("savee", settings)
    path = settings / "params.yaml"
    fresh = path.read_text()
    yaml = YAML()
    params = yaml.load(fresh)
    keys = [(name, key) for name in SECTIONS for key in params[name]]
    for name, key in keys:
        params[name][key] = "changed"
    with path.open("w") as stream:
        yaml.dump(params, stream)
    assert apply_preset("savee", settings) == len(keys)
    assert read_params(path) == YAML(typ="safe").load(fresh)


def test_a_preset_keeps_comments_and_there_is_a_way_back(settings):
    path = settings / "params.yaml"
    before = path.read_text()
    assert apply_preset("savee", settings) > 0
    assert re.findall("#.*", path.read_text()) == re.findall("#.*", before)
    apply_preset("demo", None)
    assert path.read_text() == before


def test_a_preset_that_cannot_be_applied_leaves_params_alone(settings):
    before = (settings / "params.yaml").read_bytes()
    with pytest.raises(ParamsError, match="expected one of demo, savee"):
        apply_preset("saveee", settings)
    with pytest.raises(ParamsError, match="--root DIR"):
        apply_preset("savee", None)
    with pytest.raises(ParamsError, match="nowhere: no such folder"):
        apply_preset("savee", settings / "nowhere")
    (settings / "presets" / "odd.yaml").write_text("corpus: {root: x}\nloss: {alpha: -1}\n")
    with pytest.raises(ParamsError, match=r"^params.yaml: loss\.alpha: got -1"):
        apply_preset("odd", None)
    assert (settings / "params.yaml").read_bytes() == before


def test_a_preset_refuses_params_that_are_no_yaml(settings):
    (settings / "params.yaml").write_text("loss: {alpha: 1")
    with pytest.raises(ParamsError, match="not valid YAML"):
        apply_preset("demo", None)
