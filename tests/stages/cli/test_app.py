import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project_copy import ROOT, set_params
from typer.testing import CliRunner

from pipeline.errors import AvemoError, ParamsError
from pipeline.report.comparison.studies import STUDY_KEYS
from stages.boundary import with_boundary
from stages.cli.app import app


def avemo(*arguments):
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_version_and_help_answer_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(r"avemo \d+\.\d+\.\d+\n", avemo("--version").output)
    text = avemo("--help").output
    assert "--install-completion" in text
    assert "..." not in text.partition("Commands:")[2], "a summary is cut short"


def test_a_name_that_is_too_long_is_one_line(tmp_path, capsys):
    def opens():
        (tmp_path / ("a" * 300)).open()

    with pytest.raises(SystemExit, match="1"):
        with_boundary(opens)
    assert re.fullmatch(r"error: \S+: File name too long; shorten it\n", capsys.readouterr().err)


def test_the_help_of_ablations_names_every_study():
    text = avemo("ablations", "--help").output
    assert ",".join(STUDY_KEYS) in re.sub(r"\s", "", text)


def test_paths_of_a_stage_are_optional_and_shown(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = avemo("resample", "--help").output
    assert "[default: data/audio32k]" in text and "required" not in text


def test_check_lists_its_findings_and_fails(settings):
    assert avemo("check").exit_code == 0
    set_params(settings, {"loss": {"alpha": -1}, "audio": {"epochs": 0}})
    result = avemo("check")
    assert result.exit_code == 1
    keys = [line.split(": ")[2] for line in result.output.splitlines()]
    assert keys == ["audio.epochs", "loss.alpha"]


@pytest.mark.parametrize("command", [["extract"], ["check"], ["preset", "demo"]])
def test_a_command_called_elsewhere_names_the_remedy(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="run from the project's folder"):
        avemo(*command)


@pytest.mark.parametrize(
    "command",
    [
        ["preset", "folder_speech", "--root"],
        ["corpus"],
        ["robustness"],
        ["predict"],
        ["predict", "clip.wav", "--model"],
        ["export", "out", "--clip"],
        ["corrections", "import"],
        ["export"],
        ["gallery"],
        ["predict", "clip.wav", "--model", "pretrained", "--video"],
        ["corrections", "export", "frames.txt"],
    ],
    ids=" ".join,
)
def test_an_address_is_named_as_it_was_typed(settings, command):
    """Where something is read, and where it is written."""
    Path("clip.wav").touch()
    Path("frames.txt").touch()
    writes = command in (["export"], ["gallery"]) or command[-1] in ("--video", "frames.txt")
    remedy = "write it here" if writes else "download it"
    said = rf"^https://x\.org/a: got an address, expected a \S.* of this machine; {remedy}"
    with pytest.raises(AvemoError, match=said):
        avemo(*command, "https://x.org/a")
    assert not Path("https:").exists()


@pytest.mark.parametrize("name", ["AVEMO_CACHE", "AVEMO_WORKERS"])
def test_a_wrong_variable_is_named(settings, monkeypatch, name):
    (settings / "a-file").touch()
    shutil.copy(ROOT / "dvc.yaml", settings)
    monkeypatch.setenv(name, str(settings / "a-file"))
    with pytest.raises(ParamsError, match=name):
        avemo("demo")


def test_a_full_disk_is_one_line_and_other_system_errors_are_bugs(capsys):
    def fail(number):
        raise OSError(number, os.strerror(number), "results/run.json")

    with pytest.raises(SystemExit) as leaving:
        with_boundary(lambda: fail(errno.ENOSPC))
    assert leaving.value.code == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: results/run.json: No space left") and errors.count("\n") == 1
    with pytest.raises(FileNotFoundError):
        with_boundary(lambda: fail(errno.ENOENT))


def test_ctrl_c_is_one_line_and_130(tmp_path):
    code = (
        "import pathlib, time\n"
        "from stages.boundary import run\n"
        "def main() -> None:\n"
        "    pathlib.Path('begun').touch()\n"
        "    time.sleep(60)\n"
        "run(main)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted; finished clips are kept, run again to go on\n"
