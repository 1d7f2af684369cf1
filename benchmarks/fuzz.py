"""Mutate each kind of file that we read, guided by coverage, until the time is up.

    pip install atheris
    python -m benchmarks.fuzz --seconds 60

A reader may give what a file holds or an error of ours, within 10 s and 4 GB. A file that breaks
one is left in the folder that is named at the end. `tests/test_readers.py` has the readers.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
    parser.add_argument("--seconds", type=int, default=60, help="by reader")
    parser.add_argument("--reader", help="this one alone, in this process")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    folder = Path(tempfile.mkdtemp(prefix="avemo-fuzz-"))
    if given.reader:
        fuzz(given.reader, folder, given.seconds)
    from test_readers import READERS

    failed = []
    for name in READERS:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--reader", name]
        ended = subprocess.run(
            [*command, "--seconds", str(given.seconds)], cwd=ROOT, text=True, capture_output=True
        )
        lines = ended.stderr.splitlines()
        runs = next((one.split()[-1] for one in lines if "number_of_executed" in one), "?")
        print(
            f"{name:24} {runs:>8} files  {'held' if ended.returncode == 0 else 'BROKE'}", flush=True
        )
        if ended.returncode:
            failed.append(name)
            print(ended.stdout[-2000:] + ended.stderr[-2000:], flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
