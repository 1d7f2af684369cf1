"""Who shows what in the demo corpus: from an emotion to the parameters of a face and a voice.

An emotion is two short vectors: how it moves a face and how it moves a voice. A take shows them
weakened, blended with a look-alike, shifted by its speaker's dialect, and with some scatter. Face
and voice draw these independently, and their look-alikes differ (fear looks like surprise and
sounds like nothing else; anger sounds like happiness and looks like disgust): that is what leaves
room for fusion.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.corpora.demo.cast import Speaker
from pipeline.corpora.savee import EMOTION_OF, sentence_id

CODES = {emotion: code for code, emotion in EMOTION_OF.items()}
"""SAVEE's file codes of the seven emotions."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How emotions show in one modality; all tables are keyed by parameter or by emotion."""

    scatter: Mapping[str, float]  # standard deviation between takes at ambiguity 1
    shown: Mapping[str, tuple[float, ...]]  # full-blown emotion, in the order of `scatter`
    look_alike: Mapping[str, str]
    dialect: float  # how far speakers differ, in units of `scatter`


_FACE_SHOWN = {
    # brows in, out, low; eyes, squint; corner, stretch, lip, part; wrinkle; pitch, roll, motion
    "anger":     (-0.2, +0.1, +1.0, +0.1, +0.55, -0.55, +0.05, 0.1, 0.02, 0.35, +0.45, +0.0, +0.7),
    "disgust":   (-0.1, -0.1, +0.8, -0.3, +0.65, -0.50, -0.10, 0.9, 0.05, 0.95, -0.30, +0.2, +0.2),
    "fear":      (+1.0, +0.4, +0.4, +0.8, +0.00, -0.35, +0.50, 0.0, 0.28, 0.00, -0.20, -0.1, +0.5),
    "happiness": (+0.1, +0.2, -0.1, -0.1, +0.65, +1.00, +0.60, 0.3, 0.12, 0.00, -0.10, +0.2, +0.5),
    "neutral":   (+0.0, +0.0, +0.0, +0.0, +0.00, +0.00, +0.00, 0.0, 0.00, 0.00, +0.00, +0.0, +0.0),
    "sadness":   (+0.9, -0.3, +0.2, -0.5, +0.05, -0.75, -0.20, 0.0, 0.00, 0.00, +0.55, -0.3, -0.3),
    "surprise":  (+0.9, +1.0, -0.1, +0.9, +0.00, +0.00, -0.30, 0.0, 0.48, 0.00, -0.30, +0.0, +0.4),
}  # fmt: skip

FACE = Manner(
    scatter={
        "brow_inner": 0.39,  # inner brow raised
        "brow_outer": 0.39,  # outer brow raised
        "brow_lower": 0.39,  # brows pulled down and together
        "eye_open": 0.39,  # eyes wide (+) or drooping (-)
        "squint": 0.33,  # lower lids raised
        "corner": 0.39,  # mouth corners up (+) or down (-)
        "stretch": 0.33,  # mouth wide (+) or narrow (-)
        "lip_raise": 0.26,  # upper lip raised, teeth show
        "part": 0.13,  # mouth open at rest
        "wrinkle": 0.26,  # nose wrinkled
        "pitch": 0.52,  # head down (+) or up (-), in units of 12 degrees
        "roll": 0.52,  # head tilted, in units of 12 degrees
        "motion": 0.39,  # head movement while speaking
    },
    shown=_FACE_SHOWN,
    look_alike={
        "anger": "disgust",
        "disgust": "anger",
        "fear": "surprise",
        "happiness": "neutral",
        "neutral": "happiness",
        "sadness": "fear",
        "surprise": "fear",
    },
    dialect=0.6,
)

_VOICE_SHOWN = {
    # pitch, range, slope; tempo; energy, bright; jitter, shimmer, breath, tremor; attack, pause
    "anger":     (+1.0, +0.3, -3.0, +0.25, +7.5, +4.0, 1.6, 6.0, 0.0, 0.0, +1.0, -0.02),
    "disgust":   (-2.5, +0.2, -3.0, -0.35, +0.0, +0.5, 1.4, 6.0, 3.0, 0.0, +0.2, +0.05),
    "fear":      (+6.0, -0.4, +1.0, +0.30, +0.0, -0.5, 1.2, 4.0, 8.0, 1.0, +0.0, +0.02),
    "happiness": (+5.0, +0.9, +1.5, +0.10, +4.0, +1.8, 0.2, 1.0, 1.0, 0.0, +0.4, -0.02),
    "neutral":   (+0.0, +0.0, -1.5, +0.00, +0.0, +0.0, 0.0, 0.0, 0.0, 0.0, +0.0, +0.00),
    "sadness":   (-1.0, -0.6, -3.0, -0.35, -5.0, -3.0, 0.6, 2.0, 5.0, 0.2, -0.6, +0.08),
    "surprise":  (+6.5, +1.0, +6.0, +0.00, +3.0, +1.0, 0.0, 0.0, 3.0, 0.0, +0.3, +0.02),
}  # fmt: skip

VOICE = Manner(
    scatter={
        "pitch": 1.2,  # level, semitones above the speaker's own
        "range": 0.3,  # of the intonation, log2 of the ratio to neutral
        "slope": 1.5,  # semitones from the first syllable to the last
        "tempo": 0.12,  # syllable rate, log2 of the ratio to neutral
        "energy": 2.5,  # dB
        "bright": 1.2,  # source tilt, dB per octave above neutral
        "jitter": 0.4,  # cycle-to-cycle scatter of the period, %
        "shimmer": 1.5,  # cycle-to-cycle scatter of the level, %
        "breath": 2.0,  # aspiration noise, dB above neutral
        "tremor": 0.15,  # 6 Hz wobble of the pitch, semitones
        "attack": 0.3,  # how sharply syllables start, log2 of the ratio to neutral
        "pause": 0.02,  # share of the clip that is a pause inside the sentence
    },
    shown=_VOICE_SHOWN,
    look_alike={
        "anger": "happiness",
        "disgust": "neutral",
        "fear": "sadness",
        "happiness": "anger",
        "neutral": "sadness",
        "sadness": "neutral",
        "surprise": "happiness",
    },
    dialect=0.7,
)


@dataclass(frozen=True, slots=True)
class Variation:
    """What varies the whole corpus: its seed and how unclear its emotions are, 0-1."""

    seed: int
    ambiguity: float


@dataclass(frozen=True, slots=True)
class Performance:
    """One take, decided; `face` and `voice` map the parameters of `FACE` and `VOICE` to values."""

    speaker: Speaker
    emotion: str
    take: int
    face: Mapping[str, float]
    voice: Mapping[str, float]
    seed: int

    @property
    def name(self) -> str:
        """File stem in SAVEE's manner, e.g. `sa01`."""
        return take_name(self.emotion, self.take)

    @property
    def sentence(self) -> str:
        """What is said, numbered as in SAVEE: takes 1-3 are common to all emotions."""
        return sentence_id(CODES[self.emotion], self.take)

    def rng(self, part: str) -> np.random.Generator:
        """Random numbers for one part of this take and of no other."""
        return generator(self.seed, self.speaker.name, self.name, part)


def take_name(emotion: str, take: int) -> str:
    """File stem of a take (1-based), e.g. `sa01`."""
    return f"{CODES[emotion]}{take:02d}"


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the names alone."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def perform(speaker: Speaker, emotion: str, take: int, variation: Variation) -> Performance:
    """Decide one take.

    Args:
        speaker: who speaks.
        emotion: a key of `CODES`.
        take: 1-based.
        variation: seed and ambiguity.
    """
    rng = generator(variation.seed, speaker.name, take_name(emotion, take), "plan")
    return Performance(
        speaker=speaker,
        emotion=emotion,
        take=take,
        face=_show(FACE, speaker, emotion, rng, variation),
        voice=_show(VOICE, speaker, emotion, rng, variation),
        seed=variation.seed,
    )


def _show(
    manner: Manner, speaker: Speaker, emotion: str, rng: np.random.Generator, variation: Variation
) -> dict[str, float]:
    """Weaken, blend, shift and scatter a full-blown emotion."""
    part, gain = ("face", speaker.face_gain) if manner is FACE else ("voice", speaker.voice_gain)
    scatter = np.array(list(manner.scatter.values()))
    habit = generator(variation.seed, speaker.name, part).standard_normal(scatter.size)
    dialect = generator(variation.seed, speaker.name, part, emotion).standard_normal(scatter.size)
    strength = gain * (1.0 - 0.8 * variation.ambiguity * rng.uniform())
    blend = variation.ambiguity * rng.uniform()
    own = np.array(manner.shown[emotion])
    other = np.array(manner.shown[manner.look_alike[emotion]])
    shift = 0.7 * manner.dialect * (habit + dialect) + rng.standard_normal(scatter.size)
    values = (
        strength * ((1.0 - blend) * own + blend * other) + variation.ambiguity * scatter * shift
    )
    return dict(zip(manner.scatter, values.tolist(), strict=True))
