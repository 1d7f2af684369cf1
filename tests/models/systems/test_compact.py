"""The small network from random weights: what it learns from, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from project_copy import ROOT

from models.systems.compact import draw_mixup, known_targets
from models.systems.evaluate import predict, train
from models.systems.inputs import ClipSet, Store
from models.systems.params import Settings
from models.systems.registry import build_network, recipe
from models.training import History
from pipeline.clips import ClipRecord
from pipeline.presets import preset_values
from pipeline.splits import Fold

SMALL = {
    "members": 2, "width": 8, "dropout": 0.0, "excerpt_s": 0.3,
    "batch": 6, "epochs": 12, "lr": 0.01,
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """24 clips of unequal length: a low tone or a high one, and noise."""
    draw, records = np.random.default_rng(0), []
    (tmp_path / "audio32k").mkdir()
    for number in range(24):
        seconds = 0.3 + 0.02 * number
        time = np.arange(int(32_000 * seconds)) / 32_000
        hz = (300, 2000)[number % 2] * draw.uniform(0.9, 1.1)
        tone = 0.3 * np.sin(2 * np.pi * hz * time) + 0.01 * draw.normal(size=len(time))
        clip_id, emotion = f"c{number:02}", ("anger", "fear")[number % 2]
        path = tmp_path / "audio32k" / f"{clip_id}.wav"
        soundfile.write(path, tone.astype(np.float32), 32_000, subtype="FLOAT")
        speaker, sentence = f"S{number % 3}", ("", "one", "two")[number % 3]
        size = (0, 0.0, 1, 0, 0, len(time), 32_000)
        records.append(ClipRecord(clip_id, speaker, emotion, sentence, *size))
    return Store(tuple(records), tmp_path, tmp_path)


@pytest.fixture
def settings():
    values = preset_values("demo", ROOT / "presets")
    return Settings.load(values | {"compact": values["compact"] | SMALL})


def test_it_learns_and_repeats_itself(store, settings):
    ids = tuple(record.clip_id for record in store.records)
    fold = Fold("f", ids[:16], ids[16:])
    found = []
    for _ in range(2):
        built = recipe("audio_compact", store, fold, settings)
        clips, history = ClipSet(fold.train, store.labels(), built.readers), History()
        network = train(clips, built, settings, history, fold.name)
        found.append(predict(network, clips.subset(fold.test))["audio"])
    assert torch.equal(*found)
    assert found[0].argmax(dim=1).tolist() == clips.subset(fold.test).labels().tolist()
    totals = [row["total"] for row in history.rows]
    assert len(totals) == 12 and totals[-1] < 0.8 * totals[0]
    rebuilt = build_network("audio_compact", built.widths, settings).eval()
    rebuilt.load_state_dict(network.state_dict())  # the auxiliary heads are left behind
    assert torch.equal(predict(rebuilt, clips.subset(fold.test))["audio"], found[0])


def test_auxiliary_targets_are_of_training_clips_and_silent_where_unknown(store):
    fold = Fold("f", ("c01", "c02", "c03", "c04"), ("c00",))
    found = known_targets(store, fold, ("sentence", "speaker"))
    assert {name: table.keys() for name, table in found.items()} == {
        "sentence": set(fold.train), "speaker": set(fold.train),
    }  # fmt: skip
    assert found["sentence"]["c01"].tolist() == [1, 0] and found["sentence"]["c02"].tolist() == [
        0,
        1,
    ]
    assert found["sentence"]["c03"].tolist() == [0, 0]
    assert found["speaker"]["c03"].tolist() == [1, 0, 0]
    alike = replace(store, records=tuple(replace(r, sentence="one") for r in store.records))
    assert known_targets(alike, fold, ("sentence",)) == {}


def test_half_of_the_batches_are_mixed_within_themselves():
    torch.manual_seed(0)
    drawn = [draw_mixup(8, 0.5) for _ in range(200)]
    alone = [torch.equal(partner, torch.arange(8)) for share, partner in drawn if share == 1.0]
    assert 80 < len(alone) < 120 and all(alone)
    assert all(sorted(partner.tolist()) == list(range(8)) for _, partner in drawn)
