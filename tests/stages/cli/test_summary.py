import json

import pytest

from pipeline.errors import CorpusError
from stages.cli.summary import summary


def test_figures_that_could_not_be_had_are_named_not_hidden(tmp_path):
    """No test frame with a face of dlib: the detector has no figures."""
    scores = {"accuracy": 0.5, "accuracy_95": {"low": 0.4, "high": 0.6}}
    branch = {**scores, "uar": 0.5, "macro_f1": 0.5, "ece": 0.1}
    metrics = {
        **branch, "chance": 0.1, "majority": 0.2, "branches": {"av": branch, "audio": branch},
        "pool": {"av": 0.25, "audio": 1.0}, "before_pooling": {"av": {"accuracy": 0.75}},
        "detector": {"ap50": None, "ap75": None, "ap90": None, "mean_iou": None},
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps({"scores": metrics}))
    said = summary(tmp_path)
    assert "ap50 n/a  ap75 n/a  ap90 n/a  mean_iou n/a" in said
    assert "accuracy 0.750 before pooling; weights: network 0.25, audio 1.00" in said


def test_without_results_the_command_is_named(tmp_path):
    with pytest.raises(CorpusError, match="run `dvc repro`"):
        summary(tmp_path)
