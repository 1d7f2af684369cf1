"""Speech activity by the picture against a detector of voice by the sound, silero-vad.

    AVEMO_REALDATA=FOLDER python -m benchmarks.speech_activity

A mouth opens before its voice is heard and shuts after the last sound was formed: the lag at which
they agree best is estimated, the same for all recordings. The folder holds `ravdess_av` and
`cremad`, as the tests marked `realdata` want it.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from silero_vad import load_silero_vad

from annotations.faces.agreement import SPEAKS, area_under_roc, f1
from annotations.faces.annotate import annotate_frames
from annotations.params import AnnotateParams
from pipeline.clips import Clip
from pipeline.media.decode import FRAMES, SOUND, ExtractJob, extract_clip, read_record
from pipeline.media.images import read_gray
from pipeline.media.params import ExtractParams
from pipeline.media.sound import read_wav, to_mono
from pipeline.presets import preset_values

RATE_HZ = 16_000
CHUNK = 512
"""Samples that silero-vad looks at together, at its rate."""
VOICED = 0.5
"""Its probability from which there is voice."""
LAGS_S = np.arange(0.0, 0.41, 0.05)

Floats = NDArray[np.float64]


class Spoken(NamedTuple):
    """A recording: times [F] and speech probabilities [F] of frames; times and p [V] of voice."""

    times_s: Floats
    speech: Floats
    voice_times_s: Floats
    voice: Floats

    def pairs(self, lag_s: float) -> list[tuple[bool, float]]:
        """(voice is heard so much later, speech probability) of each frame."""
        heard = np.interp(self.times_s + lag_s, self.voice_times_s, self.voice, left=0, right=0)
        return list(zip((heard >= VOICED).tolist(), self.speech.tolist(), strict=True))


def spoken(path: Path) -> Spoken:
    """What picture and sound of a recording say of speech, on one clock."""
    preset = preset_values("demo")
    extract, annotate = ExtractParams(**preset["extract"]), AnnotateParams(**preset["annotate"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract_clip(ExtractJob(Clip("a", "", "", "", path, None), True, True, extract), folder)
        record = read_record(folder)
        grays = [read_gray(frame) for frame in sorted((folder / FRAMES).iterdir())]
        signal, rate_hz = read_wav(folder / SOUND / "a.wav")
    speech = annotate_frames(grays, record.times_s, annotate).activity.speech
    sound = soxr.resample(to_mono(signal), rate_hz, RATE_HZ)
    chunks = np.pad(sound, (0, -len(sound) % CHUNK)).reshape(-1, CHUNK)
    detector = load_silero_vad()
    with torch.no_grad():
        voice = np.array([float(detector(torch.from_numpy(chunk), RATE_HZ)) for chunk in chunks])
    middles = (np.arange(len(voice)) + 0.5) * CHUNK / RATE_HZ
    return Spoken(np.array(record.times_s), speech, record.sound_start_s + middles, voice)


def agreement(found: Sequence[Spoken], lag_s: float) -> tuple[float, float]:
    """Area under the ROC curve, and F1 of the frames from `SPEAKS` on, over all recordings."""
    pairs = [pair for one in found for pair in one.pairs(lag_s)]
    area = area_under_roc(pairs)
    assert area is not None, "there is voice and silence"
    return area, f1([(voiced, p >= SPEAKS) for voiced, p in pairs])


def best_lag_s(found: Sequence[Spoken]) -> float:
    """How much later the voice is heard than the mouth is seen to move, s."""
    return float(max(LAGS_S, key=lambda lag_s: agreement(found, lag_s)[0]))


def recordings(folder: Path) -> dict[str, list[Path]]:
    """Those with sound, by corpus."""
    return {
        "ravdess_av": sorted((folder / "ravdess_av").rglob("01-*.mp4")),
        "cremad": sorted((folder / "cremad").glob("*.flv")),
    }


def main() -> None:
    by_corpus = {
        name: [spoken(path) for path in paths]
        for name, paths in recordings(Path(os.environ["AVEMO_REALDATA"])).items()
    }
    everything = [one for found in by_corpus.values() for one in found]
    lag_s = best_lag_s(everything)
    print(f"the voice follows the mouth by {lag_s:.2f} s")
    for name, found in {**by_corpus, "both": everything}.items():
        for lag in (0.0, lag_s):
            area, score = agreement(found, lag)
            print(f"{name:<12}lag {lag:.2f} s  AUC {area:.3f}  F1 {score:.3f}")


if __name__ == "__main__":
    main()
