"""How long one waits for an answer of the model that comes with the package, for a sound of 4 s.

    python -m benchmarks.predict

Cold: `avemo predict` as a user calls it, with the start of Python and all imports. Warm: a further
recording in the same process. Beside each the CPU time, which other work on the machine moves less.
Python keeps the bytecode of what it compiled, as it does unless told otherwise.
Imports: the start of Python and of the two packages that the answer needs alone, no line of avemo;
most of a cold answer, and on one and the same machine twice as long on some days as on others.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from models.recognition.recognizer import Recognizer
from models.saved_model import PRETRAINED

SOUND_S = 4.0
RATE_HZ = 48_000
REPEATS = 5
COLD_S, WARM_S = 8.0, 0.5
"""As long as anyone should wait."""
PACKAGES = "import torch, transformers.models.whisper.modeling_whisper"


def main() -> None:
    with TemporaryDirectory() as name:
        clip = Path(name) / "clip.wav"
        noise = np.random.default_rng(0).normal(0, 0.1, int(SOUND_S * RATE_HZ))
        soundfile.write(clip, noise, RATE_HZ)
        command = [sys.executable, "-m", "stages.cli.app", "predict", str(clip)]
        command += ["--model", "pretrained"]
        imports, cold = [], []
        for _ in range(REPEATS):
            imports.append(_spent_by([sys.executable, "-c", PACKAGES]))
            cold.append(_spent_by(command))
        recognizer = Recognizer.load(PRETRAINED)
        recognizer.predict(clip)
        warm = [_warm(recognizer, clip) for _ in range(REPEATS)]
    for kind, times, limit_s in (
        ("imports", imports, None),
        ("cold", cold, COLD_S),
        ("warm", warm, WARM_S),
    ):
        wall_s, cpu_s = sorted(times)[REPEATS // 2]
        expected = f"; expected at most {limit_s:g} s" if limit_s else ""
        print(f"{kind}: {wall_s:.2f} s, of the CPU {cpu_s:.2f} s{expected}")


def _spent_by(command: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of the CPU."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, spent


def _warm(recognizer: Recognizer, clip: Path) -> tuple[float, float]:
    started, spent = time.monotonic(), time.process_time()
    recognizer.predict(clip)
    return time.monotonic() - started, time.process_time() - spent


if __name__ == "__main__":
    main()
