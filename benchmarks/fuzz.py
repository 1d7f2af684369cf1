"""Mutate each kind of file that we read, guided by coverage, until the time is up.

    pip install atheris
    python -m benchmarks.fuzz --seconds 60

A reader may give what a file holds or an error of ours, within 10 s and 4 GB. A file that breaks
one is left in the folder that is named beside it. `tests/test_readers.py` has the readers.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXECUTED = "number_of_executed_units"
OURS = ["annotations", "models", "pipeline"]
LIMITS = ("-timeout=10", "-rss_limit_mb=4096", "-verbosity=0", "-print_final_stats=1")


def fuzz(name: str, folder: Path, seconds: int) -> None:
    """Mutate the file `name`; ends the process."""
    import atheris

    with atheris.instrument_imports(include=OURS):
        import test_readers as readers

        from pipeline.errors import AvemoError
    originals = readers.write_originals(folder / "originals")
    corpus, place = folder / "corpus", folder / "place"
    for made in (corpus, place, folder / "broken"):
        made.mkdir(exist_ok=True)
    (corpus / name).write_bytes((originals / name).read_bytes())
    for beside in ("clips.csv", "frames.csv"):
        (place / beside).write_bytes((originals / beside).read_bytes())

    def once(content: bytes) -> None:
        (place / name).write_bytes(content)
        try:
            readers.READERS[name](place / name)
        except AvemoError:
            pass

    kept = f"-artifact_prefix={folder / 'broken'}/"
    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={seconds}", kept, *LIMITS], once)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", help="files to mutate; without: one of each kind")
    parser.add_argument("--seconds", type=int, default=60, help="by reader")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    if given.folder:
        fuzz(*given.readers, given.folder, given.seconds)
    from test_readers import READERS

    failed = False
    for name in given.readers or READERS:
        folder = Path(tempfile.mkdtemp(prefix="avemo-fuzz-"))
        command = [sys.executable, "-m", "benchmarks.fuzz", name, "--folder", str(folder)]
        command += ["--seconds", str(given.seconds)]
        ended = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
        counts = [one.split()[-1] for one in ended.stderr.splitlines() if EXECUTED in one]
        print(f"{name:24} {''.join(counts):>8} files", end="  ")
        if ended.returncode:
            failed = True
            print(f"broke: {folder / 'broken'}\n{ended.stderr[-2000:]}", flush=True)
        else:
            print("held", flush=True)
            shutil.rmtree(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main()
