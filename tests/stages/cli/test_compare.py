import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from project_copy import environment
from typer.testing import CliRunner

from pipeline.clips import EMOTIONS
from pipeline.errors import CorpusError
from pipeline.scores.predictions import Predictions, write_predictions
from stages.cli.app import app

KINDS = EMOTIONS[:4]
TRUTH = np.arange(16) % 4


def answers(wrong, first=0, last=16):
    """Predictions of clips c00 to c15, two speakers, wrong on those that are named."""
    rows = list(range(first, last))
    truth = TRUTH[rows]
    predicted = np.where(np.isin(rows, wrong), (truth + 1) % 4, truth)
    p = 0.99 * np.eye(4)[predicted] + 0.01 / 4
    ids = tuple(f"c{i:02d}" for i in rows)
    speakers = tuple("AB"[i // 8] for i in rows)
    n = len(rows)
    return Predictions(
        KINDS, ("paper",) * n, ids, speakers, ("",) * n, truth, predicted, p.max(axis=1), p
    )


def avemo(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def save(folder, predictions):
    folder.mkdir()
    write_predictions(folder / "predictions.csv", {"av": predictions})
    return str(folder)


def test_two_folders_are_compared_on_the_clips_they_share(tmp_path):
    a = save(tmp_path / "a", answers([0, 1, 2, 3, 9], 0, 14))
    b = save(tmp_path / "b", answers([3, 10], 2, 16))
    said = avemo("compare", a, b)
    assert "12 test clips in common" in said and "THE TEST SETS DIFFER" in said
    assert f"only in {a}: 2 (paper: c00, paper: c01)" in said
    assert f"only in {b}: 2 (paper: c14, paper: c15)" in said
    found = json.loads(avemo("compare", a, b, "--json"))
    assert (found["clips"], found["same_test_clips"]) == (12, False)
    # Of c02 to c13 the first is wrong on 2, 3 and 9, the second on 3 and 10.
    assert (found["first_alone"], found["second_alone"], found["mcnemar_p"]) == (1, 2, 1.0)
    scores = found["scores"]["accuracy"]
    assert scores["first"]["value"] == pytest.approx(9 / 12)
    assert scores["second"]["value"] == pytest.approx(10 / 12)
    assert scores["difference"]["value"] == pytest.approx(1 / 12)
    assert scores["difference"]["low"] < 0 < scores["difference"]["high"]
    assert found["speakers"] == {
        "A": {"clips": 6, "first": 4, "second": 5},
        "B": {"clips": 6, "first": 5, "second": 5},
    }
    assert sum(one["clips"] for one in found["emotions"].values()) == 12


def test_a_run_beside_itself_differs_nowhere(tmp_path):
    a = save(tmp_path / "a", answers([0, 5]))
    found = json.loads(avemo("compare", a, a, "--json"))
    assert found["same_test_clips"] and found["mcnemar_p"] == 1.0
    for one in found["scores"].values():
        assert one["first"] == one["second"]
        low, value, high = (one["difference"][end] for end in ("low", "value", "high"))
        assert low < value == 0.0 < high  # 16 clips cannot tell two equal runs from similar ones
    assert "DIFFER" not in avemo("compare", a, a)


def test_runs_that_cannot_be_compared_are_one_line(tmp_path):
    a = save(tmp_path / "a", answers([0]))
    other = save(tmp_path / "b", replace(answers([0]), fold=("loso",) * 16))
    with pytest.raises(CorpusError, match=r"no test clip in common: folds \['paper'\]"):
        avemo("compare", a, other)
    labels = save(tmp_path / "c", replace(answers([0]), emotion=(TRUTH + 1) % 4))
    with pytest.raises(CorpusError, match="clip c00: anger in one run, disgust in the other"):
        avemo("compare", a, labels)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no such file; run `dvc repro`"):
        avemo("compare", a, str(tmp_path / "empty"))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A Git and DVC repository: run `a` committed, run `b` an experiment and in the workspace."""
    monkeypatch.chdir(tmp_path)
    for name, wrong in (("a", [0, 1, 2]), ("b", [0])):
        write_predictions(tmp_path / f"{name}.csv", {"av": answers(wrong)})
    (tmp_path / "results").mkdir()
    (tmp_path / "params.yaml").write_text("run: a\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages: {fuse: {cmd: 'cp ${run}.csv results/predictions.csv', params: [run],\n"
        "  outs: [results/predictions.csv]}}\n"
    )
    dvc = [sys.executable, "-m", "dvc"]
    for command in (
        ["git", "init", "-q"],
        ["git", "config", "user.email", "test@example.org"],
        ["git", "config", "user.name", "test"],
        [*dvc, "init", "-q"],
        [*dvc, "config", "core.analytics", "false"],
        [*dvc, "repro", "-q"],
        ["git", "add", "-A"],
        ["git", "commit", "-q", "-m", "start"],
        [*dvc, "exp", "run", "-q", "-n", "better", "-S", "run=b"],
    ):
        subprocess.run(command, check=True, env=environment())
    return tmp_path


def test_revision_experiment_and_workspace_are_runs(repository):
    experiment = json.loads(avemo("compare", "HEAD", "better", "--json"))
    assert (experiment["first_alone"], experiment["second_alone"]) == (0, 2)
    workspace = json.loads(avemo("compare", "--json"))
    assert workspace["scores"] == experiment["scores"]
    with pytest.raises(CorpusError, match="bettr: no folder, Git revision or DVC experiment"):
        avemo("compare", "HEAD", "bettr")
    shutil.rmtree(repository / ".dvc" / "cache")
    with pytest.raises(
        CorpusError, match=r"of HEAD: neither in Git nor in DVC's cache; `dvc pull` it"
    ):
        avemo("compare")
