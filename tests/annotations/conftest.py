from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from annotations.box import Box
from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.corpora.demo.face import face_box
from pipeline.corpora.demo.film import film, pose
from pipeline.corpora.demo.plan import Variation, perform
from pipeline.corpora.demo.score import compose

SIZE_PX = (320, 256)


@pytest.fixture(scope="session")
def take():
    """A drawn talking head at 25 fps: gray frames, true boxes, true speech."""
    play = perform(SPEAKERS[0], "happiness", 1, Variation(seed=7, ambiguity=0.3))
    score = compose(play, (1.5, 1.6), 25.0)
    heads = pose(play, score, SIZE_PX)
    return SimpleNamespace(
        frames=[cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in film(play, heads, SIZE_PX)],
        boxes=[Box(*face_box(head, *SIZE_PX)) for head in heads],
        speaking=np.asarray(score.per_frame(score.speech)) >= 0.5,
    )
