"""How answers are scored: predictions, metrics, calibration, intervals, paired comparisons."""
