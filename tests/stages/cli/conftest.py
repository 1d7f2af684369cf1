import shutil

import pytest
from project_copy import ROOT


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A folder with the project's params, presets and folds alone, and no weights anywhere."""
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    for name in ("params.yaml", "folds.csv"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVEMO_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path
