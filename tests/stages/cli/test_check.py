import subprocess
import sys
from pathlib import Path

import pytest
import torch
from project_copy import ROOT, set_params
from torchvision.models.video import MC3_18_Weights, R3D_18_Weights

from models.audio.encoders import find_encoder
from models.faces.backbones import COCO, IMAGENET
from pipeline.clips import ClipRecord, Reject, write_clips, write_quarantine
from pipeline.errors import WeightsError
from pipeline.params import read_params
from stages.cli import weight_files
from stages.cli.check import SECTIONS, check, corpus_records, params_findings, read_named


def test_nothing_slow_is_imported():
    code = (
        "import sys, stages.cli.check, stages.cli.presets;"
        "print({'torch', 'torchvision', 'dlib', 'cv2', 'scipy', 'dvc', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_the_project_as_it_is_has_no_findings(settings):
    assert check() == []
    assert set(read_params()) == {"system", *SECTIONS}


def test_all_findings_of_the_file_are_listed(settings):
    set_params(settings, {"system": "av_rnn", "detector": {"epochs": True}, "audio": {"lr": 0}})
    path = settings / "params.yaml"
    path.write_text(path.read_text().replace("  alpha:", "  alhpa:", 1) + "fusoin: {}\n")
    found = "\n".join(params_findings())
    for key in (
        "fusoin: unknown section",
        "system: got 'av_rnn'",
        "detector.epochs: got True",
        "audio.lr: got 0",
        "loss.alhpa: unknown key; expected one of alpha, beta",
        "loss.alpha: missing",
    ):
        assert key in found
    assert len(found.splitlines()) == 6


def test_what_is_not_there_is_listed_whole(settings, monkeypatch):
    monkeypatch.setattr(weight_files, "_unreachable", lambda url, patience_s: "offline")
    changes = {
        "corpus": {"name": "ravdess", "root": "/no/corpus"},
        "embed": {"networks": ["Cnn14"], "weights": "published", "handcrafted": ["mfcc"]},
        "detector": {"weights": "missing.safetensors"},
    }
    set_params(settings, changes)
    found = check()
    assert len(found) == 5
    text = "\n".join(found)
    assert (
        "av_faster_rcnn reads Wavegram_Cnn14, Wavegram_Logmel_Cnn14 (audio.embeddings), not" in text
    )
    assert "embed.handcrafted: audio.handcrafted needs log_mfcc" in text
    assert "corpus.root: /no/corpus: no such folder" in text
    where = settings / "weights" / "Cnn14_mAP=0.431.pth"
    assert "zenodo.org cannot be reached (offline); fetch https://zenodo.org/records/" in text
    assert f"put it at {where}" in text
    assert "detector.weights: missing.safetensors: no such file" in text
    where.parent.mkdir()
    where.touch()
    (settings / "missing.safetensors").touch()
    assert len(check()) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"corpus": {"modalities": "audio"}}, "corpus.modalities: got audio, but system av_faster"),
        ({"system": "av_vaanet", "baselines": {"weights": "published"}}, "there are none for c3d"),
        ({"detector": {"weights": "coco"}}, "nobody published COCO weights for resnet18_light"),
        (
            {"system": "av_people", "faces": {"embeddings": []}},
            "faces.embeddings: system av_people reads embeddings of faces, and no encoder is named",
        ),
        ({"faces": {"embeddings": ["mine"]}}, "mine/model.safetensors: no such file"),
        ({"system": "av_people"}, "av_people reads whisper_tiny_en (audio.encoders), not"),
        ({"audio": {"train": "all"}}, "av_faster_rcnn keeps its audio networks frozen"),
        (
            {"embed": {"networks": ["whisper_tiny_en"], "layers": [1, 4]}},
            "embed.layers: got 4, but whisper_tiny_en has 3 layers; name some of 0 to 3",
        ),
        (
            {"fusion": {"pool": True}, "inner_folds": {"count": 0}},
            "fusion.pool: got true, but inner_folds.count is 0",
        ),
        ({"embed": {"weights": "my/weights"}}, "my/weights: no such file of Wavegram_Logmel"),
    ],
)
def test_settings_that_do_not_go_together_are_found(settings, monkeypatch, changes, says):
    monkeypatch.setattr(weight_files, "_unreachable", lambda url, patience_s: "")
    set_params(settings, changes)
    assert any(says in line for line in check()), check()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("corpus", "root", "https://x.org/a"),
        ("split", "folds_csv", "https://x.org/a"),
        ("embed", "weights", "https://x.org/a"),
        ("detector", "weights", "https://x.org/a"),
        ("faces", "embeddings", ["fer_mini_xception", "https://x.org/a"]),
    ],
)
def test_an_address_is_no_file_that_a_key_may_name(settings, section, key, value):
    set_params(settings, {section: {key: value}})
    (line,) = check()
    assert line.startswith(f"params.yaml: {section}.{key}: ")
    assert "https://x.org/a: got an address, expected a file or folder of this machine" in line


def test_a_speech_encoder_of_another_rate_is_found(settings):
    Path("preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    set_params(settings, {"embed": {"networks": ["whisper_tiny_en", "./"]}})
    lines = [line for line in check() if line.startswith("embed.networks: ./ hears")]
    assert lines == ["embed.networks: ./ hears 8000 Hz, expected 16000; choose another"]


def test_a_page_of_the_hub_is_no_name_of_its_encoder(settings):
    set_params(settings, {"embed": {"networks": ["https://huggingface.co/a/b"]}})
    (line,) = check()
    assert "embed.networks.0: got 'https://huggingface.co/a/b'" in line
    assert "or its name on the hub (microsoft/wavlm-base-plus)" in line


def test_clips_that_came_since_the_last_run_count(settings):
    for take in "1234":
        (settings / f"own/joy/{take}.wav").parent.mkdir(parents=True, exist_ok=True)
        (settings / f"own/joy/{take}.wav").touch()
    set_params(settings, {"corpus": {"name": "folder", "root": str(settings / "own")}})
    set_params(settings, {"corpus": {"emotions": ["joy", "fear"]}})
    (settings / "own/fear").mkdir()
    (settings / "own/fear/1.wav").touch()
    known = [
        ClipRecord(f"unknown_joy_{take}", "unknown", "joy", "", 0, 0.0, 1, 0, 0, 9, 44_100)
        for take in "12"
    ]
    (settings / "data").mkdir(exist_ok=True)
    write_clips(settings / "data/clips.csv", known)
    bad = Reject("unknown_joy_3", "own/joy/3.wav", "damaged")
    write_quarantine(settings / "data/quarantine.csv", [bad])
    found = {record.clip_id: record.rate_hz for record in corpus_records(read_named())}
    assert found == {
        "unknown_fear_1": 1, "unknown_joy_1": 44_100, "unknown_joy_2": 44_100, "unknown_joy_4": 1,
    }  # fmt: skip


def test_speech_encoders_that_are_not_there_are_found(settings, monkeypatch):
    asked = []

    def offline(url, patience_s):
        asked.append(url)
        return "offline"

    monkeypatch.setattr(weight_files, "_unreachable", offline)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(settings / "hub"))
    (settings / "half").mkdir()
    (settings / "half/model.safetensors").touch()
    names = ["./nowhere", "./half", "owner/gone@v1", "owner/kept@v1"]
    kept = settings / "hub/models--owner--kept/snapshots/abc/config.json"
    kept.parent.mkdir(parents=True)
    kept.touch()
    (settings / "hub/models--owner--kept/refs").mkdir()
    (settings / "hub/models--owner--kept/refs/v1").write_text("abc")  # a tag
    set_params(
        settings,
        {
            "system": "audio_speech",
            "embed": {"networks": names},
            "audio": {"encoders": names},
        },
    )
    text = "\n".join(check())
    for file in ("config.json", "preprocessor_config.json"):
        assert f"nowhere/{file}: no such file" in text and f"half/{file}: no such file" in text
    assert "nowhere/model.safetensors: no such file" in text
    assert "half/model.safetensors" not in text
    assert "owner/gone@v1 is not on this machine" in text and "owner/kept" not in text
    assert "put them into a folder and name that" in text
    assert asked == ["https://huggingface.co/owner/gone/resolve/v1/config.json"]
    with pytest.raises(WeightsError, match=r"^\./nowhere: no such folder; expected one that holds"):
        find_encoder("./nowhere")


def test_folds_are_held_against_the_clips(settings):
    ids = [f"anna_{emotion}_{take}" for emotion in ("anger", "sadness") for take in range(3)]
    for clip_id in ids:
        path = settings / "own" / Path(*clip_id.split("_")).with_suffix(".mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    changes = {"corpus": {"name": "folder", "root": "own"}, "split": {"test_per_emotion": 1}}
    set_params(settings, changes)
    assert check() == []
    set_params(settings, {"split": {"protocol": "loso"}})
    assert "leave-one-speaker-out needs 2 speakers" in check()[0]
    set_params(settings, {"split": {"protocol": "folds"}})
    assert "folds.csv: 112 unknown clip ids" in check()[0]
    rows = [f"{clip_id},{number % 2}" for number, clip_id in enumerate(ids)]
    Path("folds.csv").write_text("\n".join(["clip_id,fold", *rows[:-1]]))
    assert "1 clips without a fold" in check()[0]
    usable = [ClipRecord(i, "anna", i.split("_")[1], "", 1, 1.0, 1, 1, 1, 1, 1) for i in ids[:-1]]
    write_clips(Path("data/clips.csv"), usable)
    write_quarantine(Path("data/quarantine.csv"), [Reject(ids[-1], "own/last.mp4", "damaged")])
    assert check() == [], "a quarantined clip needs no fold"
    set_params(settings, {"corpus": {"name": "ravdess"}})
    assert "own: none of 6 files is a recording of ravdess, the first: " in check()[0]
    set_params(settings, {"corpus": {"name": "folder"}})
    for path in sorted(Path("own").rglob("*.mp4")):
        path.rename(path.with_suffix(".wav"))
    assert "needs video, and none of 6 clips below own has any" in check()[0]


def test_too_many_files_that_cannot_be_used_are_found(settings):
    for name in ("joy/1", "joy/2", "fear/1", "fear/2", "a/b/fear/1"):
        path = settings / f"own/{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    own = {"name": "folder", "root": "own", "emotions": ["joy", "fear"]}
    set_params(settings, {"corpus": own, "split": {"test_per_emotion": 1}})
    (line,) = check()
    assert "own: 1 of 5 clips cannot be used, expected at most a share of 0.05; mend or" in line
    assert "or raise extract.max_bad_fraction; the first: own/a/b/fear/1.mp4: lies in 3" in line
    set_params(settings, {"extract": {"max_bad_fraction": 0.2}})
    assert check() == []


def test_a_missing_table_of_folds_is_told_before_the_demo_is_drawn(settings):
    set_params(settings, {"split": {"protocol": "folds", "folds_csv": "no.csv"}})
    assert check() == ["split.folds_csv: no.csv: no such file; expected columns clip_id,fold"]


def test_weight_files_are_those_of_torchvision():
    published = {
        **{(name, "imagenet"): weights for name, weights in IMAGENET.items()},
        **{(name, "coco"): weights for name, weights in COCO.items()},
        ("mc3_18", "kinetics"): MC3_18_Weights.KINETICS400_V1,
        ("r3d_18", "kinetics"): R3D_18_Weights.KINETICS400_V1,
    }
    tables = {
        "imagenet": weight_files.IMAGENET,
        "coco": weight_files.COCO,
        "kinetics": weight_files.KINETICS,
    }
    for (name, kind), weights in published.items():
        assert weight_files.TORCHVISION + tables[kind][name] == weights.url
    assert len(published) + 1 == sum(map(len, tables.values()))  # resnet18 stands there twice


@pytest.mark.parametrize("name", ["TORCH_HOME", "XDG_CACHE_HOME"])
def test_the_folder_is_that_of_torch(monkeypatch, tmp_path, name):
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(name, str(tmp_path))
    assert weight_files.torch_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_server_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    assert "refused" in weight_files._unreachable("http://127.0.0.1:9/x", 5)
