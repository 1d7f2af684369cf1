import pytest
import torch

from models.temperature import CalibrateParams, fit_temperature, inner_folds
from pipeline.clips import ClipRecord
from pipeline.splits import Fold


def test_the_temperature_that_sharpened_the_scores_is_found():
    draw = torch.Generator().manual_seed(0)
    honest = torch.randn(4000, 5, generator=draw).log_softmax(dim=1)
    labels = torch.multinomial(honest.exp(), 1, generator=draw).squeeze(1)
    assert fit_temperature(honest, labels) == pytest.approx(1.0, abs=0.1)
    assert fit_temperature(honest * 4, labels) == pytest.approx(4.0, abs=0.4)


def records():
    return [
        ClipRecord(f"{s}_{e[0]}{t}", s, e, f"s{t}", 1, 25.0, 1, 8, 8, 480, 48000)
        for s in ("DC", "JE", "JK")
        for e in ("anger", "fear")
        for t in range(4)
    ]


def inner(fold, folds=3):
    return list(inner_folds(records(), fold, CalibrateParams(folds=folds, seed=0)))


def test_calibration_never_sees_a_test_clip_and_mirrors_the_protocol():
    ids = [r.clip_id for r in records()]
    random_fold = Fold("paper", tuple(ids[1:]), tuple(ids[:1]))
    unseen = Fold(
        "DC", tuple(i for i in ids if i[:2] != "DC"), tuple(i for i in ids if i[:2] == "DC")
    )
    for fold in (random_fold, unseen):
        for kept, held in inner(fold):
            assert not set(kept) & set(held)
            assert set(kept) | set(held) == set(fold.train)
    for kept, held in inner(unseen):
        assert not {i[:2] for i in kept} & {i[:2] for i in held}
    assert len(inner(random_fold)) == 3
    assert len(inner(unseen)) == 2
    assert inner(random_fold, folds=0) == []
