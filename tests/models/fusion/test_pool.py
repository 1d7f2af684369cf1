import pytest
import torch

from models.fusion.pool import LEAST, fit_pool, fit_temperature, pooled

DRAW = torch.Generator().manual_seed(0)
HONEST = torch.randn(4000, 5, generator=DRAW).log_softmax(dim=1)
LABELS = torch.multinomial(HONEST.exp(), 1, generator=DRAW).squeeze(1)
NOISE = (3 * torch.randn(4000, 5, generator=DRAW)).log_softmax(dim=1)


def test_with_one_expert_it_is_temperature_scaling():
    for sharpness in (1, 4):
        weights = fit_temperature("audio", sharpness * HONEST, LABELS)
        assert weights == {"audio": pytest.approx(1 / sharpness, rel=0.1)}


def test_an_expert_that_knows_nothing_is_not_believed_however_sure_it_is():
    pool = fit_pool({"audio": HONEST, "visual": NOISE}, LABELS)
    assert pool["audio"] == pytest.approx(1.0, abs=0.1)
    assert pool["visual"] < 0.03


def test_experts_that_know_different_things_are_both_believed():
    """Log p of independent evidence adds up, so that both weights are 1."""
    draw = torch.Generator().manual_seed(1)
    evidence = [torch.randn(6000, 4, generator=draw) for _ in range(2)]
    labels = torch.multinomial((evidence[0] + evidence[1]).softmax(dim=1), 1, generator=draw)
    scores = dict(zip("ab", (one.log_softmax(dim=1) for one in evidence), strict=True))
    assert fit_pool(scores, labels.squeeze(1)) == pytest.approx({"a": 1, "b": 1}, abs=0.1)
    both = pooled(scores, {"a": 1.0, "b": 1.0})
    assert torch.allclose(both, (evidence[0] + evidence[1]).double().softmax(dim=1), atol=1e-6)


def test_clips_without_a_mistake_do_not_ask_for_certainty():
    scores = torch.eye(3).repeat(5, 1).mul(4).log_softmax(dim=1)  # 15 clips, all right
    confidence = pooled({"av": scores}, fit_temperature("av", scores, torch.arange(3).repeat(5)))
    assert confidence.amax(dim=1).tolist() == pytest.approx([16 / 17] * 15, abs=1e-3)


def test_experts_that_are_always_wrong_collapse_the_pool_and_never_tie():
    """Weights of 0 would give every emotion the same probability."""
    wrong = {name: torch.eye(3).repeat(5, 1).mul(4).log_softmax(dim=1) for name in ("av", "audio")}
    labels = torch.tensor([1, 2, 0]).repeat(5)
    assert fit_pool(wrong, labels) is None
    weights = fit_temperature("av", wrong["av"], labels)
    assert weights == {"av": LEAST}
    p = pooled(wrong, weights)
    assert torch.equal(p.argmax(dim=1), wrong["av"].argmax(dim=1))
