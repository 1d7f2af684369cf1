"""Times of what users wait for, in a fresh clone of the committed state, and memory at its highest.

Run with `make bench`. The clone has no products and no cache; it uses the installed environment.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
GIB = 2**30
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


def main() -> None:
    if not psutil.LINUX:
        sys.exit("benchmarks/pipeline.py: proportional set sizes are known to Linux alone")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "avemo"
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        (folder / "dvc.lock").unlink(missing_ok=True)
        memory = Memory()
        with memory.watched():
            row("avemo --help", timed(folder, ["avemo", "--help"]), 0.5)
            row("dvc repro, from nothing", timed(folder, ["dvc", "repro"]), 480)
            row("dvc repro, nothing to do", timed(folder, ["dvc", "repro"]), 3)
            change = ["dvc", "exp", "run", "-S", "loss.alpha=0.5"]
            row("dvc exp run -S loss.alpha=0.5", timed(folder, change), 20)
            back = ["dvc", "exp", "run", "-S", "loss.alpha=1.0"]
            row("the same back, from the cache", timed(folder, back), 20)
        print(f"{'memory at its highest':32} {memory.peak / GIB:8.2f} GiB   limit {4:6.2f}")


def row(what: str, seconds: float, limit: float) -> None:
    print(f"{what:32} {seconds:8.2f} s     limit {limit:6.2f}", flush=True)


if __name__ == "__main__":
    main()
