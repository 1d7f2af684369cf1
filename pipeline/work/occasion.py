"""When, where, how long and from which commit each stage last ran: `results/occasion/<stage>.json`.

Equal inputs give equal results whatever the day and the machine, so these facts stay out of the
products that DVC stores and compares: the folder is no DVC out. The report shows what lies there.
"""

import os
import platform
import subprocess
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import CorpusError, ParamsError
from pipeline.files import file_digest, write_json
from pipeline.params import PARAMS_FILE, differing, parse_yaml, read_params
from pipeline.work.executors import DEVICE

FOLDER = Path("results/occasion")
PACKAGES = ("avemo", "torch", "torchvision", "dvc")
"""Whose versions are noted, beside Python's."""

INPUTS = (".", ":(exclude)results", ":(exclude)dvc.lock")
"""What makes a working tree dirty: not what a run writes itself."""


class Hardware(BaseModel):
    """The machine; `gpu` is None where there is none or the stage has no use for one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: str
    cores: int
    memory_gib: float
    gpu: str | None


class Occasion(BaseModel):
    """One stage's last run.

    Attributes:
        stage: its name.
        began: UTC, to the second.
        seconds: how long it took; a stage that finds its clips in the cache is quicker.
        commit: of the working tree, "" outside Git.
        dirty: whether tracked files differed from it, other than what runs write.
        changed: values of `params.yaml` that differ from the commit's, `section.key` to
            (committed, used).
        corpus_root: folder of the recordings as `corpus.root` names it.
        hardware: the machine.
        versions: of Python and the packages that matter.
        run: SHA-256 of `results/run.json` when the stage ended, "" where there was none. DVC may
            since have restored another run from its cache.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    began: datetime
    seconds: float
    commit: str
    dirty: bool
    changed: dict[str, tuple[str, str]]
    corpus_root: str
    hardware: Hardware
    versions: dict[str, str]
    run: str


def note(stage: str, began: datetime, seconds: float, folder: Path = FOLDER) -> None:
    """Write the occasion of a stage that has just ended."""
    params = read_params()
    run = folder.parent / "run.json"
    occasion = Occasion(
        stage=stage,
        began=began.replace(microsecond=0),
        seconds=round(seconds, 1),
        commit=git("rev-parse", "HEAD").strip(),
        dirty=bool(git("status", "--porcelain", "--untracked-files=no", "--", *INPUTS).strip()),
        changed=differing(_committed_params(), params),
        corpus_root=str(params.get("corpus", {}).get("root", "")),
        hardware=hardware(),
        versions=versions(),
        run=file_digest(run) if run.is_file() else "",
    )
    write_json(folder / f"{stage}.json", occasion.model_dump(mode="json"))


def read_occasions(folder: Path) -> list[Occasion]:
    """The last run of every stage, in the order in which they began; none where none is noted.

    Raises:
        CorpusError: a file is not what `note` writes.
    """
    occasions = []
    for path in sorted(folder.glob("*.json")):
        try:
            occasions.append(Occasion.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise CorpusError(
                f"{path}: not the note of a stage ({reason}); delete the file"
            ) from error
    return sorted(occasions, key=lambda one: (one.began, one.stage))


def git(*arguments: str) -> str:
    """What a Git command prints; empty where it fails or there is no Git."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],  # noqa: S607  the user's own Git
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def hardware() -> Hardware:
    """This machine."""
    cpus = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpus.read_text(encoding="utf-8").splitlines() if cpus.is_file() else ())
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Hardware(
        cpu=names[0] if names else platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gib=round(memory, 1),
        gpu=_gpu(),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of `PACKAGES`, of those that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _committed_params() -> dict[str, Any]:
    """`params.yaml` at the commit; empty where it has none that can be read."""
    try:
        content = parse_yaml(git("show", f"HEAD:./{PARAMS_FILE}"), PARAMS_FILE)
    except ParamsError:
        return {}
    return content if isinstance(content, dict) else {}


def _gpu() -> str | None:
    """The GPU that the stage could use; a stage that has not imported torch used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or os.environ.get(DEVICE) == "cpu":
        return None
    chosen = os.environ.get(DEVICE, "")
    return str(torch.cuda.get_device_name(chosen if chosen.startswith("cuda") else None))
