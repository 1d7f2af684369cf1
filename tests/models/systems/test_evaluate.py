from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from models.systems.evaluate import Outcome, gather
from models.systems.inputs import Store
from models.systems.recipe import Widths
from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError
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
