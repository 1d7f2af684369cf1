import json
from types import SimpleNamespace

import torch
from project_copy import ROOT

from models.checkpoint import load_safetensors, save_safetensors
from models.systems.evaluate import gather, run_folds, save_networks
from models.systems.inputs import Store
from models.systems.params import Settings
from models.systems.refit import mean_pools, refit
from pipeline.clips import ClipRecord, write_clips
from pipeline.presets import preset_values
from pipeline.splits import Fold


def test_the_refitted_network_answers_with_the_emotions_of_the_folds(tmp_path):
    data, results, records = tmp_path / "data", tmp_path / "results", []
    for number in range(9):
        emotion = ("anger", "calm", "joy")[number % 3]
        samples = 0 if emotion == "calm" else 9  # only silent films are calm
        records.append(
            ClipRecord(f"e{number}", "S", emotion, "", 1, 25.0, 1, 8, 8, samples, samples)
        )
        embedding = {"whisper_tiny_en": torch.tensor([number % 3.0, number / 9])}
        save_safetensors(data / f"embeddings/e{number}.safetensors", embedding)
    write_clips(data / "clips.csv", records)
    store = Store(tuple(records), data, results / "detector")
    settings = Settings.load(preset_values("demo", ROOT / "presets"))
    fold = Fold("f", ("e2", "e3", "e5", "e6", "e8"), ("e0", "e1"))
    outcomes = run_folds("audio_speech", store, [fold], settings)
    save_networks(results / "fusion", "audio_speech", store, outcomes, settings)
    protocol = SimpleNamespace(folds=[SimpleNamespace(name="f")])
    run = SimpleNamespace(system="audio_speech", protocol=protocol)
    tested = gather(outcomes, store)["audio"]
    name = refit(run, tested, data, results, tmp_path / "out")
    state, facts = load_safetensors(tmp_path / f"out/fusion/{name}.safetensors")
    assert json.loads(facts["emotions"]) == ["anger", "calm", "joy"]
    assert json.loads(facts["training_clips"]) == ["e0", "e2", "e3", "e5", "e6", "e8"]
    before = load_safetensors(results / "fusion/f.safetensors")[0]
    assert {n: v.shape for n, v in state.items()} == {n: v.shape for n, v in before.items()}


def test_weights_are_averaged_by_branch_over_the_folds_that_have_some():
    pooled = {"av": {"av": 0.5, "audio": 0.25}, "audio": {"audio": 1.0}}
    collapsed = {"av": {"av": 1.5}, "audio": {"audio": 2.0}}
    mean = {"av": {"av": 1.0, "audio": 0.125}, "audio": {"audio": 1.5}}
    assert mean_pools([pooled, {}, collapsed]) == mean
    assert mean_pools([{}, {}]) == {}
