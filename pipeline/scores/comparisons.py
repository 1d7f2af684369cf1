"""Is one system better than another on the same clips? McNemar's test and Holm's correction."""

from collections.abc import Sequence
from math import comb

import numpy as np

from pipeline.scores.predictions import Predictions


def mcnemar(ours: Predictions, other: Predictions) -> float:
    """Exact two-sided McNemar test: p of the discordant clips under a fair coin.

    Source: McNemar (1947), Psychometrika 12; the exact binomial form.
    """
    wins = int((ours.correct & ~other.correct).sum())
    losses = int((~ours.correct & other.correct).sum())
    discordant = wins + losses
    tail = sum(comb(discordant, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number, in the order given.

    Source: Holm (1979), Scandinavian Journal of Statistics 6.
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.zeros(len(order))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = largest
    return [float(value) for value in corrected]
