"""Clips of the demo corpus, drawn in seconds, for tests of what a user may bring."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from project_copy import ROOT, set_params

from pipeline.work.executors import executors_from
from stages import demo

SHORT = {"demo": {"speakers": 1, "takes": 1, "min_s": 0.9, "max_s": 1.0}}


def draw_demo(folder: Path) -> Path:
    """A project's `params.yaml` in `folder`, and seven short clips below `data/demo`; a clip."""
    shutil.copy(ROOT / "params.yaml", folder)
    set_params(folder, SHORT)
    with pytest.MonkeyPatch.context() as patch, executors_from(ThreadPoolExecutor):
        patch.chdir(folder)
        demo.main(folder / "data/demo")
    return folder / "data/demo/AudioVisualClip/DC/a01.avi"
