"""The speakers of the demo corpus: how they look and sound, whatever they feel; none exists."""

from dataclasses import dataclass

Color = tuple[int, int, int]
"""Blue, green, red, 0-255: OpenCV's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """What stays the same in all takes of a speaker."""

    name: str
    skin: Color
    hair: Color
    iris: Color
    shirt: Color
    wall: Color
    hair_style: str  # short, long, swept or bald
    beard: float  # 0-1
    glasses: bool
    size: float  # head size relative to the picture
    jaw: float  # relative width of the jaw
    pitch_hz: float  # resting pitch
    tract: float  # formant scale; > 1 is a shorter vocal tract
    face_gain: float  # expressiveness of the face
    voice_gain: float  # expressiveness of the voice


SPEAKERS = (
    Speaker(
        name="DC",
        skin=(150, 178, 226),
        hair=(44, 66, 98),
        iris=(140, 96, 50),
        shirt=(122, 74, 46),
        wall=(150, 156, 140),
        hair_style="short",
        beard=0.0,
        glasses=False,
        size=1.0,
        jaw=1.0,
        pitch_hz=98.0,
        tract=0.95,
        face_gain=1.05,
        voice_gain=1.0,
    ),
    Speaker(
        name="JE",
        skin=(166, 196, 238),
        hair=(36, 100, 150),
        iris=(96, 122, 62),
        shirt=(60, 62, 140),
        wall=(172, 150, 128),
        hair_style="long",
        beard=0.0,
        glasses=False,
        size=0.96,
        jaw=0.92,
        pitch_hz=188.0,
        tract=1.14,
        face_gain=1.0,
        voice_gain=1.1,
    ),
    Speaker(
        name="JK",
        skin=(92, 128, 186),
        hair=(22, 24, 30),
        iris=(36, 52, 80),
        shirt=(70, 104, 62),
        wall=(120, 142, 166),
        hair_style="swept",
        beard=0.6,
        glasses=False,
        size=1.03,
        jaw=1.05,
        pitch_hz=114.0,
        tract=1.0,
        face_gain=0.9,
        voice_gain=0.9,
    ),
    Speaker(
        name="KL",
        skin=(138, 168, 216),
        hair=(62, 64, 70),
        iris=(150, 120, 72),
        shirt=(112, 100, 96),
        wall=(132, 124, 150),
        hair_style="bald",
        beard=0.0,
        glasses=True,
        size=0.99,
        jaw=0.97,
        pitch_hz=140.0,
        tract=1.06,
        face_gain=0.95,
        voice_gain=1.0,
    ),
)


def shade(color: Color, tone: float) -> Color:
    """A colour times `tone`."""
    blue, green, red = (int(min(255.0, channel * tone)) for channel in color)
    return blue, green, red


def blend(one: Color, two: Color, share: float) -> Color:
    """A mixture with `share` of the second colour."""
    blue, green, red = (round(a + (b - a) * share) for a, b in zip(one, two, strict=True))
    return blue, green, red
