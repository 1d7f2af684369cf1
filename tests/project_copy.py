"""A copy of the project with small numbers in `params.yaml`, to run DVC in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]

PARTS = (
    "annotations",
    "models",
    "pipeline",
    "stages",
    "presets",
    "dvc.yaml",
    "params.yaml",
    "folds.csv",
    ".gitignore",
    ".dvcignore",
)

TINY = {
    "demo": {"speakers": 2, "takes": 2, "min_s": 0.6, "max_s": 0.8},
    "extract": {"frame_step": 4},
    "embed": {"networks": ["Wavegram_Logmel_Cnn14"]},
    "split": {"test_per_emotion": 1},
    "detector": {
        "frames_per_clip_train": 1, "frames_per_clip": 2, "closer_epochs": 1, "epochs": 1,
    },
    "audio": {"embeddings": ["Wavegram_Logmel_Cnn14"], "epochs": 5},
    "visual": {"epochs": 5},
    "fusion": {"warmup_epochs": 2, "epochs": 2, "joint_epochs": 1, "joint_frames": 1},
    "inner_folds": {"count": 1},
}  # fmt: skip


def copy_project(folder: Path, changes: dict | None = None) -> Path:
    """Copy code and pipeline into `folder`, a Git and DVC repository, with `TINY` params."""
    folder.mkdir(parents=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    set_params(folder, TINY)
    set_params(folder, changes or {})
    git(folder, "init", "-q")
    git(folder, "config", "user.email", "test@example.org")
    git(folder, "config", "user.name", "test")
    dvc(folder, "init", "-q")
    dvc(folder, "config", "core.analytics", "false")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def set_params(folder: Path, changes: dict) -> None:
    """Change values of `params.yaml`, by section and key."""
    yaml = YAML()
    path = folder / "params.yaml"
    params = yaml.load(path.read_text(encoding="utf-8"))
    for section, values in changes.items():
        if isinstance(values, dict):
            params[section].update(values)
        else:
            params[section] = values
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def dvc(folder: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """Run DVC in `folder` and return what it printed; its exit code is asserted.

    Its environment is that of `environment`, with further variables.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def git(folder: Path, *arguments: str) -> str:
    """Run Git in `folder` and return what it printed."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def change_digit(path: Path, before: str) -> None:
    """Replace the digit that follows `before` in a text file, as another processor might."""
    text = path.read_text(encoding="utf-8")
    at = text.index(before) + len(before)
    digit = "1" if text[at] == "0" else "0"
    path.write_text(text[:at] + digit + text[at + 1 :], encoding="utf-8")


def stages_run(output: str) -> list[str]:
    """The stages whose command DVC ran, in order, but `inputs`, which always runs."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage '")]
    return [name for line in lines if (name := line.split("'")[1]) != "inputs"]


def environment() -> dict[str, str]:
    """The environment with this Python first on the PATH, and stages that work in one process.

    To start another takes longer than the tiny work of a test, and so does it to compile the copy
    again in each.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**own, "PATH": path, "AVEMO_WORKERS": "0", "DVC_NO_ANALYTICS": "1"}


OCCASION = re.compile(rb"<!--occasion-->.*?<!--/occasion-->", re.DOTALL)


def tree(folder: Path) -> dict[str, bytes]:
    """Content of every file below `folder` by relative name, without when and where it ran."""
    return {
        str(path.relative_to(folder)): OCCASION.sub(b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "occasion"
    }
