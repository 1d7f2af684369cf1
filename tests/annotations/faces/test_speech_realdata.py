"""Speech activity on real recordings; `AVEMO_REALDATA` names their folder."""

import os
from pathlib import Path

import pytest

REALDATA = os.environ.get("AVEMO_REALDATA")


@pytest.mark.realdata
@pytest.mark.skipif(not REALDATA, reason="AVEMO_REALDATA names no folder")
@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:FutureWarning")
def test_the_picture_agrees_with_a_detector_of_voice():
    from benchmarks.speech_activity import agreement, best_lag_s, recordings, spoken

    paths = [path for some in recordings(Path(REALDATA or "")).values() for path in some[:3]]
    found = [spoken(path) for path in paths]
    lag_s = best_lag_s(found)
    area, score = agreement(found, lag_s)
    assert 0.1 <= lag_s <= 0.3
    assert area >= 0.9 and score >= 0.85
