from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from project_copy import ROOT
from torch import nn

from models.checkpoint import save_safetensors
from models.systems.evaluate import Outcome, gather, gather_asked, run_folds
from models.systems.inputs import Store
from models.systems.params import Settings
from models.systems.recipe import Widths
from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError
from pipeline.presets import preset_values
from pipeline.scores.predictions import write_predictions
from pipeline.splits import Fold


@pytest.fixture
def store():
    emotions = {"a": "anger", "b": "fear", "c": "anger"}
    records = [
        ClipRecord(clip_id, "S", emotion, "", 4, 25.0, 1, 8, 8, 9, 9)
        for clip_id, emotion in emotions.items()
    ]
    return Store(tuple(records), Path("data"), Path("detector"))


def outcome(name, train, test, p):
    answers = {"audio": np.array(p)}
    return Outcome(
        Fold(name, train, test), nn.Identity(), Widths(2), {}, False, test, answers, answers, []
    )


def test_folds_are_joined_by_clip_id(store):
    first = outcome("1", ("c",), ("b", "a"), [[0.2, 0.8], [0.6, 0.4]])
    second = outcome("2", ("a", "b"), ("c",), [[0.3, 0.7]])
    found = gather([first, second], store)["audio"]
    assert found.keys == (("1", "b"), ("1", "a"), ("2", "c"))
    assert found.emotion.tolist() == [1, 0, 0] and found.predicted.tolist() == [1, 0, 1]


def test_other_clips_than_the_test_clips_are_refused(store):
    good = outcome("1", ("c",), ("b", "a"), [[0.2, 0.8], [0.6, 0.4]])
    with pytest.raises(CorpusError, match=r"fold 1: .* not of its 2 test clips"):
        gather([replace(good, clip_ids=("a", "b"))], store)
    short = {"audio": good.probabilities["audio"][:1]}
    with pytest.raises(CorpusError, match=r"fold 1: \[1\] predictions of 2 clips"):
        gather([replace(good, probabilities=short)], store)


def test_clips_without_a_label_are_answered_and_those_without_sound_are_not(tmp_path, caplog):
    kinds = {"t": "joy", "u": "bored", "deaf": "joy", "what": "", "deaf-what": ""}
    records = []
    for name, emotion in kinds.items():
        for number in range(9 if emotion else 1):
            clip_id, sounds = f"{name}{number}", not name.startswith("deaf")
            place = 0 if emotion == "joy" else 1  # the user's order is not the alphabet's
            size = (4, 25.0, 1, 8, 8, 9 * sounds, 9 * sounds)
            records.append(ClipRecord(clip_id, "S", emotion, "", *size, place))
            if sounds:
                value = torch.tensor([2.0 * place + 0.1 * number, float(number % 4)])
                path = tmp_path / f"embeddings/{clip_id}.safetensors"
                save_safetensors(path, {"whisper_tiny_en": value})
    store = Store(tuple(records), tmp_path, tmp_path)
    ids = sorted(record.clip_id for record in records if record.emotion)
    test = ("deaf0", "t0", "u0")
    train = tuple(i for i in ids if i not in test)
    fold = Fold("f", train, test, ("deaf-what0", "what0"))
    settings = Settings.load(preset_values("demo", ROOT / "presets"))
    outcomes = run_folds("audio_speech", store, [fold], settings)
    assert "audio_speech reads 19 of 29 clips" in caplog.text
    assert outcomes[0].fold.asked == ("what0",) and len(outcomes[0].fold.train) == 16
    found, asked = (of(outcomes, store)["audio"] for of in (gather, gather_asked))
    assert found.emotions == ("joy", "bored") and found.clip_id == ("t0", "u0")
    assert asked.clip_id == ("what0",) and asked.emotion.tolist() == [-1]
    assert asked.probabilities == pytest.approx(found.probabilities[1:])  # the sound of u0
    write_predictions(tmp_path / "asked.csv", {"audio": asked})
    assert "audio,f,what0,S,,,bored," in (tmp_path / "asked.csv").read_text()
