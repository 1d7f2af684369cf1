"""Calibration of log p on held-out clips: a temperature, or a log-linear pool of several experts.

Probabilities are softmax(sum_e w_e log p_e) over experts e. With one expert, w = 1 / T is
temperature scaling; that is how each branch and the fused network are calibrated. Where
`fusion.pool` is set, the fused answer is the pool of the fused network with both branches.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (one expert); Heskes,
"Selecting Weighting Factors in Logarithmic Opinion Pools", NIPS 1997.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

Pool = Mapping[str, float]
"""Weight of each expert (branch), not negative, not all 0."""

LEAST, LARGEST = 0.05, 20.0
"""Bounds of 1 / T. The lower one keeps the order of the emotions where a network knows nothing of
held-out clips; a pool whose weights are all below it has collapsed."""


def fit_temperature(expert: str, log_p: Tensor, labels: Tensor) -> dict[str, float]:
    """The weight 1 / T of a single expert, from its log p [N, K] of held-out clips."""
    return _fit({expert: log_p}, labels, LEAST)


def fit_pool(scores: Mapping[str, Tensor], labels: Tensor) -> dict[str, float] | None:
    """The weights of several experts; None where the fit has collapsed, so that all emotions tie.

    Args:
        scores: by expert log p [N, K] of clips that it was not trained on.
        labels: emotion indices [N].
    """
    weights = _fit(scores, labels, 0.0)
    return weights if max(weights.values()) >= LEAST else None


def pooled(scores: Mapping[str, Tensor], pool: Pool) -> Tensor:
    """Probabilities [N, K] of the experts in `pool`, from log p [N, K] by branch."""
    parts = [weight * scores[expert].double() for expert, weight in pool.items()]
    return torch.stack(parts).sum(dim=0).softmax(dim=1)


def _fit(scores: Mapping[str, Tensor], labels: Tensor, least: float) -> dict[str, float]:
    """The weights that minimise the negative log-likelihood of the pool; a convex problem.

    Targets are smoothed as by Platt: with N clips the true emotion counts (N + 1) / (N + 2), so
    that clips without a mistake do not ask for boundless confidence.
    """
    stacked = torch.stack(list(scores.values())).double()  # [E, N, K]
    count, kinds = stacked.shape[1:]
    spare = 1 / (count + 2)
    target = torch.full((count, kinds), spare / max(1, kinds - 1), dtype=torch.float64)
    target[torch.arange(count), labels] = 1 - spare

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        w = torch.tensor(weights, requires_grad=True)
        log_p = torch.einsum("e,enk->nk", w, stacked).log_softmax(dim=1)
        nll = -(target * log_p).sum(dim=1).mean()
        nll.backward()
        assert w.grad is not None
        return float(nll.detach()), w.grad.numpy()

    from scipy.optimize import minimize  # most of a second, and an answer fits nothing

    start = np.full(len(scores), 1 / len(scores))
    bounds = [(least, LARGEST)] * len(scores)
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    return dict(zip(scores, found.x.tolist(), strict=True))
