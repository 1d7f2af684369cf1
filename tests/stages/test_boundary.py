"""Where stages meet the user: several processes of one, and what is said how often."""

import logging
import os
import subprocess
import sys
import time

import pytest

from pipeline.work import occasion
from pipeline.work.closure import PROJECT
from stages import boundary
from stages.boundary import MOST, Few


@pytest.fixture
def noted(monkeypatch):
    """Stages that were noted."""
    names = []
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(occasion, "note", lambda name, began, seconds: names.append(name))
    return names


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("stage", ["fuse", "detect"])
def test_one_process_does_what_is_not_worth_sharing(noted, monkeypatch, caplog, stage, rank):
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(boundary.inspect, "getfile", lambda main: f"stages/{stage}.py")
    seen = []
    boundary._noted(lambda: seen.append(boundary.ranks()))()
    shared = stage == "detect"
    assert seen == ([2] if shared else [1] if rank == 0 else [])
    assert noted == ([stage] if rank == 0 else [])
    assert ("fuse: one of 2 processes does it" in caplog.text) == (not shared and rank == 0)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_stage_does_not_begin_beside_itself_and_a_killed_one_is_in_nobodys_way(tmp_path):
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("{}\n")
    stage = tmp_path / "sleep.py"
    stage.write_text(
        "import pathlib, time\n"
        "from stages.boundary import run\n"
        "def main(seconds: float) -> None:\n"
        "    pathlib.Path('begun').touch()\n"
        "    time.sleep(seconds)\n"
        "run(main)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    place = {"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, str(stage)]
    with subprocess.Popen([*command, "60"], **place) as first:
        while not (tmp_path / "begun").exists() and first.poll() is None:
            time.sleep(0.02)
        second = subprocess.run([*command, "0"], **place)
        first.kill()
    assert second.returncode == 1 and second.stderr.count("\n") == 1
    assert f"stage sleep: another process is at it in {tmp_path}" in second.stderr
    assert subprocess.run([*command, "0"], **place).returncode == 0


def test_warnings_are_said_once_and_few_of_a_kind(caplog):
    log = logging.getLogger("test")
    log.addFilter(Few())
    try:
        for number in range(30):
            log.warning("frame %d: odd", number // 2)
        log.warning("another kind")
    finally:
        log.filters.clear()
    assert caplog.messages == [
        *(f"frame {number}: odd" for number in range(MOST - 1)),
        f"frame {MOST - 1}: odd; others of this kind, if any, are not shown",
        "another kind",
    ]
