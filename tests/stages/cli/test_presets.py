import re
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from models.audio.params import PANNS
from pipeline.errors import ParamsError
from pipeline.params import read_params
from pipeline.splits import make_folds
from pipeline.systems import SYSTEMS
from stages.cli.check import SECTIONS, corpus_findings, corpus_records, read_named, require_valid
from stages.cli.presets import apply_preset


def test_every_preset_is_valid_and_embeds_what_its_system_reads(settings):
    require_valid()
    for source in sorted((settings / "presets").glob("*.yaml")):
        apply_preset(source.stem, settings)
        require_valid()
        params = read_params()
        assert params["corpus"]["root"] == str(settings)
        networks = set(params["embed"]["networks"])
        audio = params["audio"]
        system = SYSTEMS[params["system"]]
        needed = set(system.audio_networks(audio["embeddings"], audio["encoders"]))
        assert needed <= networks
        if params["embed"]["weights"] == "published":
            assert networks & set(PANNS) == needed, "others would be fetched for nothing"
        frames = params["baselines"]["frames"], params["detector"]["frames_per_clip"]
        assert frames[0] == frames[1], "rows of a table look at as many frames of a test clip"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("savee", {"protocol": "paper", "test_per_emotion": 10}),
        ("savee_loso", {"protocol": "loso", "speaker_groups": 0}),
        ("ravdess", {"protocol": "folds", "folds_csv": "presets/ravdess_folds.csv"}),
        ("cremad", {"protocol": "loso", "speaker_groups": 5}),
    ],
)
def test_a_preset_sets_its_protocol_after_any_other(settings, name, expected):
    for other in ("cremad", "savee"):
        apply_preset(other, settings)
        apply_preset(name, settings)
        params = read_params()
        assert expected.items() <= params["split"].items()
        assert params["system"] == "av_faster_rcnn"
        assert (params["detector"]["classes"], params["detector"]["closer_px"]) == ("emotion", 0)


RAVDESS_TEST_ACTORS = [
    {1, 11, 20, 21}, {4, 10, 12, 14}, {8, 9, 19, 23}, {3, 5, 7, 24}, {2, 15, 16, 18},
    {6, 13, 17, 22},
]  # fmt: skip
"""Of EmoBox's folds."""


def ravdess_clips(root, actors, modality):
    """Empty files with the names of RAVDESS, two takes of each of two emotions an actor."""
    for actor in actors:
        folder = root / f"Actor_{actor:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for emotion, take in ((1, 1), (1, 2), (5, 1), (5, 2)):
            name = f"{modality}-01-{emotion:02d}-01-01-{take:02d}-{actor:02d}"
            (folder / f"{name}.{'wav' if modality == '03' else 'mp4'}").touch()


@pytest.mark.parametrize("modality", ["01", "03"])
@pytest.mark.parametrize("count", [6, 4])
def test_the_folds_of_ravdess_serve_any_part_of_it(settings, modality, count):
    groups = RAVDESS_TEST_ACTORS[:count]
    root = settings / "RAVDESS"
    ravdess_clips(root, sorted(set.union(*groups)), modality)
    apply_preset("ravdess", root)
    if modality == "03":
        path = settings / "params.yaml"
        path.write_text(path.read_text().replace(": av_faster_rcnn\n", ": audio_wavegram_logmel\n"))
    assert corpus_findings(read_named()) == []
    records = corpus_records(read_named())
    actor = {r.clip_id: int(r.speaker.removeprefix("Actor_")) for r in records}
    folds = make_folds(records, read_named().split)
    assert [{actor[i] for i in fold.test} for fold in folds] == groups
    assert all(not {actor[i] for i in f.train} & {actor[i] for i in f.test} for f in folds)


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
    apply_preset("ravdess_speech", settings)  # leaves lists empty
    apply_preset("demo", None)
    assert path.read_text() == before


def test_a_preset_that_cannot_be_applied_leaves_params_alone(settings):
    before = (settings / "params.yaml").read_bytes()
    with pytest.raises(ParamsError, match="expected one of cremad, cremad_speech, demo, folder"):
        apply_preset("saveee", settings)
    with pytest.raises(ParamsError, match="--root DIR"):
        apply_preset("savee", None)
    with pytest.raises(ParamsError, match="nowhere: no such folder"):
        apply_preset("savee", settings / "nowhere")
    (settings / "presets" / "odd.yaml").write_text("corpus: {root: x}\nloss: {alpha: -1}\n")
    with pytest.raises(ParamsError, match=r"^params.yaml: loss\.alpha: got -1"):
        apply_preset("odd", None)
    (settings / "presets" / "round.yaml").write_text("begins_from: round\n")
    with pytest.raises(
        ParamsError, match=r"round.yaml: begins_from: the preset begins from itself"
    ):
        apply_preset("round", settings)
    assert (settings / "params.yaml").read_bytes() == before


def test_a_preset_refuses_params_that_are_no_yaml(settings):
    (settings / "params.yaml").write_text("loss: {alpha: 1")
    with pytest.raises(ParamsError, match="not valid YAML"):
        apply_preset("demo", None)


def test_presets_apply_after_dvc_has_rewritten_the_file(settings):
    """`dvc exp run -S` writes lists in rows, comments behind them."""
    apply_overrides(Path("params.yaml"), ["loss.alpha=0.5"])
    assert "hidden: [" not in Path("params.yaml").read_text()
    for name in ("savee", "demo", "ravdess", "demo"):
        apply_preset(name, settings)
        require_valid()
    assert read_params()["loss"]["alpha"] == 1.0


def test_a_preset_mends_a_section_that_is_none(settings):
    path = settings / "params.yaml"
    before = read_params(path)
    text = re.sub(r"^loss:.*\n(?:[ #].*\n)+", "loss:\n", path.read_text(), flags=re.M)
    path.write_text(re.sub(r"^corpus:.*\n(?:[ #].*\n)+", "corpus: 1\n", text, flags=re.M))
    assert read_params(path)["loss"] is None and read_params(path)["corpus"] == 1
    apply_preset("demo", None)
    assert read_params(path) == before
