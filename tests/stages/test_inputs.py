import os
import shutil
from pathlib import Path

import pytest
from project_copy import ROOT, copy_project, dvc, set_params, stages_run, tree

from pipeline.errors import ParamsError
from stages.inputs import main

OUTS = [Path("data/inputs") / f"{name}.json" for name in ("corpus", "embed", "detector", "faces")]


@pytest.fixture
def settings(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_replaced_file_changes_what_its_stage_depends_on_alone(settings):
    (settings / "mine").mkdir()
    (settings / "mine" / "Cnn14.pth").write_bytes(b"one")
    (settings / "face.safetensors").write_bytes(b"one")
    embed = {"networks": ["Cnn14"], "weights": "mine"}
    detector = {"weights": "face.safetensors"}
    for file in ("model.safetensors", "config.json", "preprocessor_config.json"):
        (settings / file).write_bytes(b"one")
    faces = {"embeddings": ["fer_mini_xception", "."]}
    set_params(
        settings,
        {"embed": embed, "detector": detector, "faces": faces, "system": "audio_cnn"},
    )
    main(*OUTS)
    first = [path.read_text() for path in OUTS]
    (settings / "mine" / "Cnn14.pth").write_bytes(b"two")
    main(*OUTS)
    assert [a == b.read_text() for a, b in zip(first, OUTS, strict=True)] == [
        True,
        False,
        True,
        True,
    ]
    (settings / "face.safetensors").write_bytes(b"two")
    main(*OUTS)
    assert first[2] != OUTS[2].read_text() and first[3] == OUTS[3].read_text()
    (settings / "model.safetensors").write_bytes(b"two")
    main(*OUTS)
    assert first[3] != OUTS[3].read_text()
    (settings / "face.safetensors").unlink()
    with pytest.raises(ParamsError, match=r"detector.weights: face.safetensors: no such file"):
        main(*OUTS)


def test_a_name_that_is_not_utf8_is_told_before_dvc_fails_at_it(settings):
    folder = settings / "corpus" / os.fsdecode(b"Zo\xeb")
    folder.mkdir(parents=True)
    (folder / "1.wav").touch()
    set_params(settings, {"corpus": {"name": "savee", "root": "corpus"}})
    said = r"Zo\\udceb: got a name that is not UTF-8, of which there is 1; expected .*rename it"
    with pytest.raises(ParamsError, match=said):
        main(*OUTS)


def test_what_dvc_would_wait_for_or_not_find_is_told_before(settings):
    folder = settings / "corpus"
    folder.mkdir()
    (folder / "right.wav").symlink_to("1.wav")
    (folder / "1.wav").touch()
    os.mkfifo(folder / "pipe.wav")
    (folder / "device.wav").symlink_to("/dev/zero")
    (folder / "gone.wav").symlink_to("elsewhere.wav")
    (folder / "circle.wav").symlink_to("circle.wav")
    set_params(settings, {"corpus": {"name": "savee", "root": "corpus"}})
    with pytest.raises(ParamsError) as caught:
        main(*OUTS)
    said = str(caught.value)
    assert "circle.wav: got a link that leads nowhere, of which there are 2; expected" in said
    assert "device.wav: got a pipe, socket or device, of which there are 2; expected" in said


def test_no_other_value_changes_what_the_stages_depend_on(settings):
    main(*OUTS)
    first = tree(settings / "data")
    set_params(settings, {"loss": {"alpha": 0.5}, "audio": {"epochs": 3}, "system": "av_vaanet"})
    main(*OUTS)
    assert tree(settings / "data") == first


def test_a_misspelt_key_stops_dvc_before_any_output_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    tiny = {"speakers": 1, "takes": 1, "min_s": 0.5, "max_s": 0.5, "fps": 5}
    project = copy_project(tmp_path / "project", {"demo": tiny})
    assert stages_run(dvc(project, "repro", "demo")) == ["demo"]
    before = tree(project / "data" / "demo")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("  dropout:", "  droput:", 1))
    set_params(project, {"demo": {"seed": 1}})
    text = dvc(project, "repro", "demo", code=255)
    assert "params.yaml: audio.droput: unknown key" in text
    assert stages_run(text) == []
    assert tree(project / "data" / "demo") == before
    params.write_text(params.read_text().replace("  droput:", "  dropout:", 1))
    set_params(project, {"demo": {"seed": 0}})
    assert stages_run(dvc(project, "repro", "demo")) == [], "nothing but `inputs` runs again"
