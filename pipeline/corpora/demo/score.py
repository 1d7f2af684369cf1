"""When what is said in a demo clip: syllables, pitch, loudness and mouth opening over time.

Voice and face both follow the score, so that sound and picture of a clip belong together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from pipeline.corpora.demo.plan import Performance, generator

TICK_S = 0.005
"""Step of all curves of a score."""

SYLLABLE_S = 0.18
"""Length of a syllable in neutral speech."""

EDGE_S = (0.10, 0.22)
"""Silence before and after the sentence, shortest and longest."""

PAUSE_S = 0.14
"""Pause inside a neutral sentence."""

VOWELS = {
    "i": (270, 2290, 3010),
    "I": (390, 1990, 2550),
    "E": (530, 1840, 2480),
    "ae": (660, 1720, 2410),
    "A": (730, 1090, 2440),
    "O": (570, 840, 2410),
    "U": (440, 1020, 2240),
    "u": (300, 870, 2240),
    "V": (640, 1190, 2390),
    "er": (490, 1350, 1690),
}
"""First three formants in Hz. Source: Peterson and Barney, JASA 24 (1952), Table II, men."""

ONSETS = ("", "", "nasal", "stop", "s", "f")

Curve = NDArray[np.float64]  # [N], one value a tick


@dataclass(frozen=True, slots=True)
class Syllable:
    """One syllable of a sentence; `stress` lies in 0-1."""

    vowel: str
    onset: str
    stress: float


@dataclass(frozen=True, slots=True)
class Score:
    """Curves over a clip, one value every `TICK_S`."""

    loudness: Curve  # of the voice, 0-1
    pitch_hz: Curve
    formants_hz: NDArray[np.float64]  # [N, 3]
    hiss: dict[str, Curve]  # loudness of each fricative or burst, 0-1
    opening: Curve  # of the mouth, 0-1
    speech: NDArray[np.bool_]  # [N]
    frames: int
    fps: float

    @property
    def duration_s(self) -> float:
        """Length of the clip: a whole number of video frames."""
        return self.frames / self.fps

    def per_frame(self, curve: NDArray[np.float64] | NDArray[np.bool_]) -> Curve:
        """A curve averaged over each video frame [F]."""
        edges = np.arange(self.frames + 1) / self.fps / TICK_S
        total = np.concatenate(([0.0], np.cumsum(curve, dtype=float)))
        return np.diff(np.interp(edges, np.arange(len(total)), total)) * self.fps * TICK_S


def sentence(seed: int, name: str, middle_s: float) -> list[Syllable]:
    """The syllables of a sentence; equal names sound alike whoever speaks.

    Args:
        seed: of the corpus.
        name: sentence id.
        middle_s: length of a middling clip, which sets how many syllables there are.
    """
    rng = generator(seed, "sentence", name)
    count = max(2, round((middle_s - 0.45) / SYLLABLE_S) + int(rng.integers(-1, 2)))
    vowels, onsets = rng.choice(list(VOWELS), count), rng.choice(ONSETS, count)
    stress = np.where(rng.random(count) < 0.45, rng.uniform(0.6, 1.0, count), 0.15)
    return [
        Syllable(str(v), str(o), float(s)) for v, o, s in zip(vowels, onsets, stress, strict=True)
    ]


def compose(play: Performance, length_s: tuple[float, float], fps: float) -> Score:
    """Set a take's sentence in time.

    Args:
        play: the take.
        length_s: shortest and longest clip in s; a sentence is hurried or slowed to fit.
        fps: video frames per second.
    """
    rng = play.rng("score")
    syllables = sentence(play.seed, play.sentence, sum(length_s) / 2.0)
    spans, duration_s = _time(play, len(syllables), length_s, rng)
    frames = max(1, round(duration_s * fps))
    ticks = TICK_S * np.arange(np.ceil(frames / fps / TICK_S), dtype=np.float64)
    loudness = _loudness(play, syllables, spans, ticks)
    centres = spans.mean(axis=1)
    formants = np.array([VOWELS[syllable.vowel] for syllable in syllables], float)
    formants = np.column_stack([np.interp(ticks, centres, column) for column in formants.T])
    opening = np.interp(ticks, centres, [_openness(syllable.vowel) for syllable in syllables])
    return Score(
        loudness=loudness,
        pitch_hz=_pitch(play, syllables, spans, ticks, rng),
        formants_hz=gaussian_filter1d(formants, 0.020 / TICK_S, axis=0) * play.speaker.tract,
        hiss=_hiss(syllables, spans, ticks),
        opening=gaussian_filter1d(opening * loudness, 0.015 / TICK_S),
        speech=_speaking(spans, ticks),
        frames=frames,
        fps=fps,
    )


def _time(
    play: Performance, count: int, length_s: tuple[float, float], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """Start and end of each syllable [S, 2], and the length of the clip, in s."""
    lead, trail = rng.uniform(*EDGE_S, 2)
    lengths = SYLLABLE_S * 2.0 ** -play.voice["tempo"] * rng.uniform(0.85, 1.15, count)
    lengths[-1] *= 1.25
    pause = max(0.0, PAUSE_S + play.voice["pause"] * sum(length_s) / 2.0)
    wanted = lead + trail + pause + lengths.sum()
    duration = float(np.clip(wanted, *length_s))
    spoken = max(duration - lead - trail - pause, 0.5 * duration)
    lengths *= spoken / lengths.sum()
    silence = (duration - spoken) / (lead + trail + pause)
    ends = lead * silence + np.cumsum(lengths)
    ends[count // 2 :] += pause * silence
    return np.column_stack((ends - lengths, ends)), duration


def _loudness(
    play: Performance, syllables: list[Syllable], spans: NDArray[np.float64], ticks: Curve
) -> Curve:
    curve = np.zeros(len(ticks))
    rise = 0.045 * 2.0 ** -play.voice["attack"]
    for syllable, (start, end) in zip(syllables, spans, strict=True):
        begin = start + (0.0 if syllable.onset in ("", "nasal") else 0.30 * (end - start))
        peak = 0.70 + 0.30 * syllable.stress
        rise_to = min(begin + rise, 0.6 * begin + 0.4 * end)
        points = (begin - 0.01, rise_to, 0.45 * begin + 0.55 * end, end + 0.01)
        curve = np.maximum(curve, np.interp(ticks, points, (0.0, peak, 0.9 * peak, 0.0)))
        if syllable.onset == "nasal":
            hum = np.interp(ticks, (start - 0.01, start + 0.02, begin + 0.05), (0.0, 0.25, 0.0))
            curve = np.maximum(curve, hum)
    return gaussian_filter1d(curve, 0.006 / TICK_S)


def _pitch(
    play: Performance,
    syllables: list[Syllable],
    spans: NDArray[np.float64],
    ticks: Curve,
    rng: np.random.Generator,
) -> Curve:
    """Declination, accents on stressed syllables and tremor, in Hz."""
    centres = spans.mean(axis=1)
    accents = np.array([syllable.stress for syllable in syllables]) - 0.4
    accents += 0.25 * rng.standard_normal(len(accents))
    accents *= 3.2 * 2.0 ** play.voice["range"]
    line = play.voice["slope"] * np.linspace(-0.5, 0.5, len(accents))
    curve = np.interp(ticks, centres, accents + line + play.voice["pitch"])
    curve = gaussian_filter1d(curve, 0.030 / TICK_S)
    wobble = max(play.voice["tremor"], 0.0) * np.sin(2 * np.pi * (6.0 * ticks + rng.random()))
    return play.speaker.pitch_hz * 2.0 ** ((curve + wobble) / 12.0)


def _hiss(syllables: list[Syllable], spans: NDArray[np.float64], ticks: Curve) -> dict[str, Curve]:
    curves = {name: np.zeros(len(ticks)) for name in ("s", "f", "stop")}
    for syllable, (start, end) in zip(syllables, spans, strict=True):
        if syllable.onset not in curves:
            continue
        stop = start + 0.30 * (end - start)
        begin = stop - 0.015 if syllable.onset == "stop" else start
        bump = np.interp(ticks, (begin, 0.5 * (begin + stop), stop + 0.01), (0.0, 1.0, 0.0))
        curves[syllable.onset] = np.maximum(curves[syllable.onset], bump)
    return curves


def _speaking(spans: NDArray[np.float64], ticks: Curve) -> NDArray[np.bool_]:
    """Whether somebody speaks: from the first to the last syllable, without the pause."""
    half = len(spans) // 2
    parts = [part for part in (spans[:half], spans[half:]) if len(part)]
    return np.any([(ticks >= part[0, 0]) & (ticks < part[-1, 1]) for part in parts], axis=0)


def _openness(vowel: str) -> float:
    """Mouth opening of a vowel from its first formant, 0-1."""
    return float(np.clip((VOWELS[vowel][0] - 130.0) / 600.0, 0.2, 1.0))
