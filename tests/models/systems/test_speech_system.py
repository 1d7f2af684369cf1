"""The linear classifier over a speech encoder against scikit-learn's."""

import numpy as np
import pytest
import torch
from project_copy import ROOT
from sklearn.linear_model import LogisticRegression

from models.checkpoint import load_safetensors, save_safetensors
from models.losses import log_scores
from models.systems.evaluate import predict, train
from models.systems.inputs import ClipSet, SoundReader, Store
from models.systems.params import Settings
from models.systems.registry import recipe
from models.training import ConvexSettings, History, minimize
from pipeline.clips import ClipRecord
from pipeline.errors import TrainingError
from pipeline.presets import preset_values
from pipeline.splits import Fold

EMOTIONS, WIDTH, L2 = ("anger", "fear", "happiness"), 6, 0.02


@pytest.fixture
def store(tmp_path):
    """60 clips whose embeddings tell the emotion, not always."""
    draw, records = np.random.default_rng(0), []
    for number in range(60):
        values = draw.normal(0, 1, WIDTH) * np.arange(1, WIDTH + 1) + 5
        values[number % 3] += 2
        clip_id = f"c{number}"
        save_safetensors(
            tmp_path / f"embeddings/{clip_id}.safetensors",
            {"whisper_tiny_en": torch.tensor(values, dtype=torch.float32)},
        )
        records.append(ClipRecord(clip_id, "S", EMOTIONS[number % 3], "", 0, 0, 1, 0, 0, 9, 9))
    return Store(tuple(records), tmp_path, tmp_path)


def test_copies_in_noise_train_as_clips_of_their_own_would(store):
    """All versions weigh alike; statistics and answers are of the clips as they are."""
    ids = tuple(record.clip_id for record in store.records)
    fold, draw = Fold("f", ids[:45], ids[45:]), np.random.default_rng(1)
    for clip_id in ids:
        path = store.embeddings / f"{clip_id}.safetensors"
        (clip,) = load_safetensors(path)[0].values()
        copies = clip + torch.tensor(draw.normal(0, 1, (2, WIDTH)), dtype=torch.float32)
        save_safetensors(path, {"whisper_tiny_en": clip, "whisper_tiny_en in noise": copies})
    values = preset_values("demo", ROOT / "presets")
    values["audio"]["l2"], values["embed"]["noisy_copies"] = L2, 2
    settings = Settings.load(values)
    built = recipe("audio_speech", store, fold, settings)
    clips = ClipSet(fold.train, store.labels(), built.readers)
    network = train(clips, built, settings, History(), fold.name)
    found = log_scores(predict(network, clips.subset(fold.test))["audio"]).exp()

    seen, unseen = (clips.subset(part).stack("audio").numpy() for part in (fold.train, fold.test))
    scale = 1 / (seen.std(axis=0) * WIDTH**0.5)
    versions = np.concatenate([built.readers["audio"].versions[one].numpy() for one in fold.train])
    reference = LogisticRegression(C=1 / (L2 * len(versions)), tol=1e-8, max_iter=1000)
    reference.fit(
        (versions - seen.mean(axis=0)) * scale, clips.labels().repeat_interleave(3).numpy()
    )
    expected = reference.predict_proba((unseen - seen.mean(axis=0)) * scale)
    assert found.numpy() == pytest.approx(expected, abs=1e-3)


def test_layers_draw_a_version_of_each_clip_in_each_epoch(store):
    reader = SoundReader({"a": torch.arange(4.0)[:, None]})
    assert reader("a") == 0
    torch.manual_seed(0)
    counts = torch.cat([reader.drawn("a") for _ in range(400)]).long().bincount()
    assert len(counts) == 4 and counts.min() > 70


def test_it_is_logistic_regression_on_statistics_of_training_clips(store):
    values = preset_values("demo", ROOT / "presets")
    settings = Settings.load(values | {"audio": values["audio"] | {"l2": L2}})
    ids = tuple(record.clip_id for record in store.records)
    fold = Fold("f", ids[:45], ids[45:])
    built = recipe("audio_speech", store, fold, settings)
    clips, history = ClipSet(fold.train, store.labels(), built.readers), History()
    network = train(clips, built, settings, history, fold.name)
    found = log_scores(predict(network, clips.subset(fold.test))["audio"]).exp()

    seen, unseen = (clips.subset(part).stack("audio").numpy() for part in (fold.train, fold.test))
    scale = 1 / (seen.std(axis=0) * WIDTH**0.5)
    reference = LogisticRegression(C=1 / (L2 * len(seen)), tol=1e-8, max_iter=1000)
    reference.fit((seen - seen.mean(axis=0)) * scale, clips.labels().numpy())
    expected = reference.predict_proba((unseen - seen.mean(axis=0)) * scale)

    assert found.numpy() == pytest.approx(expected, abs=1e-3)
    totals = [row["total"] for row in history.rows]
    assert totals == sorted(totals, reverse=True) and totals[-1] < totals[0]


def test_a_loss_without_a_minimum_is_refused():
    line = torch.nn.Linear(1, 1)
    with pytest.raises(TrainingError, match="no minimum within 3 iterations"):
        minimize(
            line,
            {"x": torch.ones(1, 1)},
            lambda model, batch: {"l": model(batch["x"]).sum()},
            {"l": 1.0},
            ConvexSettings(iterations=3),
        )
