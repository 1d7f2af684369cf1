"""A tutorial's commands run, in their order, on recordings that are few, small and made up."""

import contextlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from project_copy import ROOT, copy_project, environment, set_params
from ruamel.yaml import YAML
from typer.testing import CliRunner

from models import speeds
from stages.cli.app import app

BLOCK = re.compile(r"^```(console|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)

Deed = Callable[[Path], None] | None


def follow(
    page: str,
    folder: Path,
    swapped: Mapping[str, str] | None = None,
    instead: Mapping[str, Deed] | None = None,
    after: Mapping[str, Deed] | None = None,
) -> list[tuple[str, str]]:
    """Do in a project what a page says.

    Args:
        page: name of a file in docs/tutorials.
        folder: the project.
        swapped: what other text stands for a text in its commands.
        instead: commands that are not run, and what is done in their place.
        after: what is done after a command.

    Returns:
        Each command of the page, and what it printed.
    """
    swapped, instead, after = swapped or {}, instead or {}, after or {}
    text = (ROOT / "docs/tutorials" / page).read_text(encoding="utf-8")
    for expected in [*swapped, *instead, *after]:
        assert expected in text, f"{page} has no {expected}"
    told = []
    with contextlib.chdir(folder):
        for kind, block in BLOCK.findall(text):
            if kind == "yaml":
                set_params(folder, YAML().load(block))
                continue
            for line in block.splitlines():
                command = line.removeprefix("$ ")
                if command in instead:
                    done, output = instead[command], ""
                else:
                    done, output = after.get(command), call(command, swapped)
                if done:
                    done(folder)
                told.append((command, output))
    return told


def call(command: str, swapped: Mapping[str, str]) -> str:
    """What a command printed; `avemo` is called in this process, to import torch once."""
    for ours, theirs in swapped.items():
        command = command.replace(ours, theirs)
    if command.startswith("avemo "):
        result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
        assert result.exit_code == 0, f"{command}: {result.output}"
        return result.output
    done = subprocess.run(
        command, shell=True, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def short_timing():
    """`avemo plan` looks at this machine for an instant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speeds, "ENOUGH_S", 0.0)
        patch.setenv("AVEMO_WORKERS", "1")
        yield


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A project that has followed `own_data.md`, and what its commands printed."""
    data = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    for speaker in ("anna", "ben"):
        for emotion, pitch_hz in (("joy", 400), ("contempt", 200), ("bored", 100)):
            for take in (1, 2):
                times = np.arange(8000) / 16_000
                sound = 0.3 * np.sin(2 * np.pi * pitch_hz * times)
                path = data / "recordings" / speaker / emotion / f"take{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, sound + 0.02 * generator.normal(size=len(times)), 16_000)
    shutil.copy(path, data / "new.wav")
    project = copy_project(data / "avemo")
    return project, follow("own_data.md", project, {"/data/": f"{data}/"})


@pytest.mark.slow
def test_own_recordings_become_a_model(own):
    _, told = own
    said = dict(told)
    corpus = said["avemo corpus /data/recordings"]
    assert "folder, 12 clips" in corpus and "draft: " in corpus
    assert said["avemo check"].startswith("params.yaml: valid")
    assert "audio alone   accuracy" in said["avemo summary"]
    assert re.search(r"new\.wav +bored ", said["avemo predict /data/new.wav"])
