"""Every condition that a model is tried under: what it does to a clip, and how severely."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from annotations.box import Box
from models.audio import noise
from models.audio.noise import Waveform
from models.robustness import picture, sound
from pipeline.media.images import Picture
from pipeline.report.robustness.answers import Kind

Part = Literal["sound", "picture"]
"""What of a clip is harmed."""

SOUND: tuple[Part, ...] = ("sound",)
PICTURE: tuple[Part, ...] = ("picture",)
BOTH: tuple[Part, ...] = ("sound", "picture")

PGD_STEPS = 5

RADIUS_DB = (-60.0, -50.0, -40.0, -30.0)
"""Radius of an attack on sound, by severity, in dB of the clip's largest sample.

Source: Carlini and Wagner, "Audio Adversarial Examples", 2018, for the unit.
"""

RADIUS_LEVELS = (1.0, 2.0, 4.0, 8.0)
"""Radius of an attack on the picture, by severity, in grey levels of 255."""


Severities = tuple[tuple[float, ...], ...]
"""Mildest first; one or more numbers each, in a unit of the condition's own."""


class Clip(NamedTuple):
    """What damage is done to: [T] sound or none, frames, boxes of their faces, sound of others."""

    sound: Waveform | None
    frames: Sequence[Picture]
    boxes: Sequence[Box | None]
    voices: Sequence[Waveform]

    @property
    def speech(self) -> Waveform:
        """The sound of a clip that has some."""
        assert self.sound is not None
        return self.sound


Harm = Callable[..., "Waveform | list[Picture]"]
"""The sound or the frames of a `Clip` after damage, called with it, a generator, and a severity.

What it draws is the same at all severities of a clip.
"""


@dataclass(frozen=True, slots=True)
class Condition:
    """A kind of damage.

    Attributes:
        title: in words.
        parts: of a clip that it harms.
        severities: mildest first.
        unit: the words of a severity, a format of `str.format`.
        harm: what it does; None of an attack, and where the part is taken away.
        attack_steps: of an attack: one is FGSM, more are PGD; 0 of all else.
    """

    title: str
    parts: tuple[Part, ...]
    severities: Severities
    unit: str
    harm: Harm | None = None
    attack_steps: int = 0

    @property
    def kind(self) -> Kind:
        """Under which it is shown."""
        if self.attack_steps:
            return "attack"
        return self.parts[0] if self.harm else "missing"

    @property
    def labels(self) -> tuple[str, ...]:
        """The severities in words."""
        return tuple(self.unit.format(*severity) for severity in self.severities)

    @property
    def ends(self) -> "Condition":
        """The same with its mildest and its severest degree alone."""
        ends = dict.fromkeys((self.severities[0], self.severities[-1]))
        return replace(self, severities=tuple(ends))


def _degrees(*values: float) -> Severities:
    return tuple((value,) for value in values)


def _noise(title: str, make: Callable[[Clip, np.random.Generator], Waveform]) -> Condition:
    def harm(clip: Clip, rng: np.random.Generator, snr_db: float) -> Waveform:
        return noise.with_noise(clip.speech, make(clip, rng), snr_db)

    return Condition(title, SOUND, _degrees(20, 10, 5, 0), "{:g} dB", harm)


def _attack(title: str, parts: tuple[Part, ...], steps: int) -> Condition:
    radii = {"sound": (RADIUS_DB, "{:g} dB"), "picture": (RADIUS_LEVELS, "{:g}/255")}
    severities = tuple(zip(*(radii[part][0] for part in parts), strict=True))
    if steps > 1:  # as costly as all else together
        severities = severities[1::2]
    unit = ", ".join(radii[part][1] for part in parts)
    return Condition(title, parts, severities, unit, attack_steps=steps)


CONDITIONS = {
    "white": _noise("White noise", lambda c, rng: noise.white_noise(len(c.speech), rng)),
    "pink": _noise("Pink noise", lambda c, rng: noise.pink_noise(len(c.speech), rng)),
    "babble": _noise("Babble", lambda c, rng: sound.babble(len(c.speech), c.voices, rng)),
    "reverberation": Condition(
        "Reverberation", SOUND, _degrees(0.3, 0.6, 1.2, 2.4), "{:g} s",
        lambda clip, rng, rt60_s: sound.reverberated(clip.speech, rt60_s, rng),
    ),
    "mp3": Condition(
        "MP3", SOUND, _degrees(96, 64, 48, 32), "{:g} kbit/s",
        lambda clip, _, kbit_s: sound.mp3(clip.speech, kbit_s),
    ),
    "telephone": Condition(
        "Telephone band", SOUND, ((50, 7000), (300, 3400)), "{:g}-{:g} Hz",
        lambda clip, _, low_hz, high_hz: sound.band(clip.speech, low_hz, high_hz),
    ),
    "clipping": Condition(
        "Clipping", SOUND, _degrees(0.02, 0.05, 0.1, 0.2), "{:.0%}",
        lambda clip, _, share: sound.clipped(clip.speech, share),
    ),
    "blur": Condition(
        "Blur", PICTURE, _degrees(0.01, 0.02, 0.04, 0.08), "{:.0%} of the face",
        lambda clip, _, share: picture.blurred(clip.frames, clip.boxes, share),
    ),
    "darkness": Condition(
        "Darkness", PICTURE, _degrees(0.5, 0.25, 0.1, 0.05), "{:.0%} of the light",
        lambda clip, _, share: picture.darkened(clip.frames, share),
    ),
    "eyes": Condition(
        "Covered eyes", PICTURE, _degrees(1), "upper third",
        lambda clip, *_: picture.covered(clip.frames, clip.boxes, picture.EYES),
    ),
    "mouth": Condition(
        "Covered mouth", PICTURE, _degrees(1), "lower third",
        lambda clip, *_: picture.covered(clip.frames, clip.boxes, picture.MOUTH),
    ),
    "jpeg": Condition(
        "JPEG", PICTURE, _degrees(50, 20, 10, 5), "quality {:g}",
        lambda clip, _, quality: picture.jpeg(clip.frames, quality),
    ),
    "dropped": Condition(
        "Lost frames", PICTURE, _degrees(0.25, 0.5, 0.75, 0.9), "{:.0%}",
        lambda clip, rng, share: picture.dropped(clip.frames, share, rng),
    ),
    "no_sound": Condition("No sound", SOUND, _degrees(1), "missing"),
    "no_picture": Condition("No picture", PICTURE, _degrees(1), "missing"),
    "fgsm_sound": _attack("FGSM on sound", SOUND, 1),
    "fgsm_picture": _attack("FGSM on the picture", PICTURE, 1),
    "fgsm_both": _attack("FGSM on both", BOTH, 1),
    "pgd_sound": _attack("PGD on sound", SOUND, PGD_STEPS),
    "pgd_picture": _attack("PGD on the picture", PICTURE, PGD_STEPS),
    "pgd_both": _attack("PGD on both", BOTH, PGD_STEPS),
}  # fmt: skip
"""By name, as on the command line and in `results/robustness.csv`."""
