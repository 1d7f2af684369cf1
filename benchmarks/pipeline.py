"""Times of what users wait for, in a fresh clone of the committed state, and memory at its highest.

Run with `make bench`; it adds to `results.md`, which `benchmarks/rivals.py` begins. The clone has
no products and no cache; it uses the installed environment.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results.md")
GIB = 2**30
EXPERIMENT_S = 8.0
"""What an experiment may take beside what DVC itself does."""

SAMPLE_S = 0.5


class Memory:
    """The highest sum of proportional set sizes over this process's descendants, bytes."""

    def __init__(self) -> None:
        self.peak = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample twice a second while the block runs."""
        done = threading.Event()

        def sample() -> None:
            while not done.wait(SAMPLE_S):
                self.peak = max(self.peak, sum(map(_share, psutil.Process().children(True))))

        watcher = threading.Thread(target=sample)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _share(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended
        return 0


def timed(folder: Path, command: Sequence[str], cache: Path | None = None) -> float:
    """Seconds that a command takes; its output is shown where it fails.

    Args:
        folder: where it is called.
        command: with its arguments.
        cache: clip cache; None takes that of the folder.
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("AVEMO_CACHE", None)
    environment |= {"AVEMO_CACHE": str(cache)} if cache else {}
    started = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return time.monotonic() - started


@dataclass(frozen=True, slots=True)
class Waited:
    """A figure and the most that it should be, both in `unit`."""

    what: str
    value: float
    limit: float
    unit: str = "s"

    def line(self) -> str:
        """The row as Markdown."""
        met = "yes" if self.value <= self.limit else "**no**"
        return (
            f"| {self.what} | {self.value:.2f} {self.unit} | {self.limit:.2f} {self.unit} | {met} |"
        )


def main() -> None:
    if not psutil.LINUX:
        sys.exit("benchmarks/pipeline.py: proportional set sizes are known to Linux alone")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for row in measure(Path(name)):
            print(row.line(), flush=True)
            rows.append(row)
    with RESULTS.open("a", encoding="utf-8") as stream:
        stream.write(
            "\n## What users wait for\n\n"
            "Once each, on the demo, in a fresh clone without a cache.\n\n"
            "| what | measured | at most | met |\n|---|---:|---:|---|\n"
        )
        stream.writelines(f"{row.line()}\n" for row in rows)


def measure(folder: Path) -> Iterator[Waited]:
    """The figures, one after another; `folder` is empty."""
    alone_s = bare_experiment(folder / "bare")
    clone = folder / "avemo"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    (clone / "dvc.lock").unlink(missing_ok=True)
    memory = Memory()
    with memory.watched():
        yield Waited("`avemo --help`", timed(clone, ["avemo", "--help"]), 0.3)
        yield Waited("`dvc repro`, from nothing", timed(clone, ["dvc", "repro"]), 480)
        yield Waited("`dvc repro`, nothing to do", timed(clone, ["dvc", "repro"]), 3)
        change = ["dvc", "exp", "run", "-S", "loss.alpha=0.5"]
        what = f"`{' '.join(change)}`; alone, in a project of two empty stages, {alone_s:.1f} s"
        yield Waited(what, timed(clone, change), alone_s + EXPERIMENT_S)
        back = [*change[:-1], "loss.alpha=1.0"]
        yield Waited("the same back, from the cache", timed(clone, back), alone_s + EXPERIMENT_S)
    yield Waited("memory at its highest", memory.peak / GIB, 4, "GiB")


def bare_experiment(folder: Path) -> float:
    """Seconds that DVC itself takes for an experiment, in a project of two stages that copy."""
    folder.mkdir()
    (folder / "params.yaml").write_text("x: 1\n", encoding="utf-8")
    (folder / "dvc.yaml").write_text(
        "stages:\n"
        "  one: {cmd: cp params.yaml one, params: [x], outs: [one]}\n"
        "  two: {cmd: cp one two, deps: [one], outs: [two]}\n",
        encoding="utf-8",
    )
    commit = ["git", "-c", "user.name=avemo", "-c", "user.email=avemo", "commit", "--quiet"]
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["dvc", "repro"]):
        timed(folder, command)
    for command in (["git", "add", "."], [*commit, "--message", "Bare"]):
        timed(folder, command)
    return timed(folder, ["dvc", "exp", "run", "-S", "x=2"])


if __name__ == "__main__":
    main()
