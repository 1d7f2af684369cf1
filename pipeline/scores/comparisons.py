"""Is one system better than another on the same clips? McNemar's test and Holm's correction."""

from collections.abc import Sequence

import numpy as np

from pipeline.scores.predictions import Predictions


def mcnemar(ours: Predictions, other: Predictions) -> float:
    """Exact two-sided McNemar test: p of the discordant clips under a fair coin.

    Source: McNemar (1947), Psychometrika 12; the exact binomial form.
    """
    wins = int((ours.correct & ~other.correct).sum())
    losses = int((~ours.correct & other.correct).sum())
    if wins + losses == 0:
        return 1.0
    from scipy.special import bdtr  # not scipy.stats, whose import takes a second

    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number, in the order given.

    In SciPy there is no such correction, and statsmodels would be a package for four lines.

    Source: Holm (1979), Scandinavian Journal of Statistics 6.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps))
    return [float(value) for value in corrected]
