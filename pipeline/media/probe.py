"""What a recording holds: the statements of its header and the extent of its packets.

Every packet is read and none decoded, so that a file that ends before its header says so is told
from one whose tracks begin late, end apart, or have a header that states nothing.

Where neither header nor end says so, a recording that was cut passes for a shorter one: raw streams
(AAC as ADTS, AC-3, AMR, MPEG-TS, an MP3 without a Xing, Info or VBRI frame), and an Ogg that ends
with a whole page, as live ones do.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.errors import MediaError
from pipeline.foreign import is_lfs_pointer, printable

STATING = frozenset({"matroska,webm", "flv", "flac", "aiff", "au", "wv"})
"""Containers with one stated length for all tracks; those of others are guesses or measured."""

PARTED = frozenset({"ogg", "w64"})
"""Containers that state the length of each part and not of the whole: one that ends inside a part
is cut short."""

PLAYLISTS = frozenset({"concat", "hls", "dash", "imf", "sdp", "rtsp", "tedcaptions"})
"""What only names other files or places, which are no part of the corpus."""

PLACEHOLDER_BYTES = 0x7FFFF000
"""A writer that cannot seek back states this size of a WAV, or a greater one, or 0."""
PLACEHOLDER_FRAMES = 2**30
"""... and this count of frames of an AVI."""

MISSING_SHARE = 0.1
"""A recording that holds less than 1 - this share of what its header states is cut short."""
MISSING_S = 0.2
"""... if also more than this is missing, in seconds: headers round."""
TORN_S = 0.02
"""... or this, where the file ends inside a packet."""

ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""What an ASF file's properties begin with, ..."""
ASF_HEAD_BYTES = 2**16
"""... somewhere in so many first bytes."""

HOLE_S = 0.5
"""Where packets begin further apart than this, in seconds, others between them are lost,"""
HOLE_STEPS = 5
"""... if also further than so many of their usual steps."""

GAP_S = 0.1
"""Sound that goes on so much later than it ended has a gap; less is rounding."""

PCM_CODECS = {"u8": "pcm_s16le", "s16": "pcm_s16le", "s32": "pcm_s32le"}
"""WAV codec by decoded sample format; what is not listed (float, lossy) becomes float."""


@dataclass(frozen=True, slots=True)
class PictureTrack:
    """A track of moving pictures.

    `index` of the stream, `fps` of the header in 1/s, whether pixels are `square`; from the first
    packet on that needs no other, `frames` that there should be and `length_s` that they fill;
    `width_px` and `height_px` as stored.
    """

    index: int
    fps: float
    square: bool
    frames: int
    length_s: float
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """A track of sound: `index` of the stream, `codec` of the WAV to write, `length_s` of it.

    In `gaps_s` of the time from its beginning to its end there is none: it was paused, or lost.
    """

    index: int
    codec: str
    length_s: float
    gaps_s: float
    rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Tracks:
    """The first picture of a recording, None without one, and all its sound; no empty track."""

    picture: PictureTrack | None
    sounds: tuple[SoundTrack, ...]


@dataclass(slots=True)
class _Extent:
    """The shown packets of a stream, on the container's clock.

    `times_s` at which they begin and their lengths in s, 0 where none is stated; `keys` are the
    places of those that need no other. `begun`: a hidden one of those comes before the first, as in
    a film that was trimmed without encoding it anew.
    """

    times_s: list[float] = field(default_factory=list)
    lengths_s: list[float] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    begun: bool = False

    def add(self, packet: av.Packet) -> None:
        """Take the next packet into account; one without a time begins with the one before."""
        ticks = packet.dts if packet.pts is None else packet.pts
        before_s = self.times_s[-1] if self.times_s else 0.0
        if packet.is_keyframe:
            self.keys.append(len(self.times_s))
        self.times_s.append(before_s if ticks is None else float(ticks * packet.time_base))
        self.lengths_s.append(float((packet.duration or 0) * packet.time_base))

    def hide(self, packet: av.Packet) -> None:
        """Take into account that a packet is decoded and not shown."""
        self.begun |= packet.is_keyframe and not self.times_s

    def decodable(self) -> "_Extent":
        """From the first packet on that needs no other; all where none is marked as such."""
        first = self.keys[0] if self.keys and not self.begun else 0
        return _Extent(self.times_s[first:], self.lengths_s[first:], self.keys)

    @property
    def end_s(self) -> float:
        """End of the last packet; one that states no length lasts as long as others do."""
        if not self.times_s:
            return 0.0
        last = int(np.argmax(self.times_s))
        mean_s = (self.times_s[last] - min(self.times_s)) / max(1, len(self.times_s) - 1)
        return self.times_s[last] + (self.lengths_s[last] or mean_s)

    @property
    def length_s(self) -> float:
        """From the first to the end of the last packet."""
        return self.end_s - min(self.times_s, default=0.0)

    @property
    def holes_s(self) -> float:
        """Sum of the stretches for which packets are missing; a slow rate makes no hole."""
        steps_s = np.diff(np.sort(self.times_s))
        usual_s = float(np.median(steps_s)) if len(steps_s) else 0.0
        holes_s = steps_s[steps_s > max(HOLE_S, HOLE_STEPS * usual_s)]
        return float(np.sum(holes_s - usual_s))

    @property
    def gaps_s(self) -> float:
        """Sum of the stretches of more than `GAP_S` between the end of a packet and the next."""
        if not all(self.lengths_s):
            return 0.0
        order = np.argsort(self.times_s, kind="stable")
        begin_s, length_s = np.array(self.times_s)[order], np.array(self.lengths_s)[order]
        gaps_s = begin_s[1:] - (begin_s + length_s)[:-1]
        return float(gaps_s[gaps_s > GAP_S].sum())


def probe(path: Path) -> Tracks:
    """Read a recording's header and packets.

    Raises:
        MediaError: the file is empty, a Git LFS pointer, no recording, or cut short, or its name is
            not UTF-8.
    """
    place = str(path.resolve())
    if printable(place) != place:
        raise MediaError(
            f"{printable(place)}: got a name that is not UTF-8; expected one that is; rename the "
            "file, or the folder that has the name"
        )
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: got 0 bytes, expected a recording; copy it again")
    if is_lfs_pointer(path):
        raise MediaError(
            f"{path}: got a Git LFS pointer, expected the recording that it stands for; run "
            "`git lfs pull` there"
        )
    try:
        with av.open(f"file:{place}", metadata_errors="replace") as container:
            if not PLAYLISTS.isdisjoint(container.format.name.split(",")):
                raise MediaError(
                    f"{path}: a list of other files ({container.format.name}), expected a "
                    "recording; take the files that it names"
                )
            extents, torn = _extents(container)
            if container.format.name == "ogg":
                torn = _ends_inside_page(path)
            if torn and container.format.name in PARTED:
                raise MediaError(
                    f"{path}: cut short: it ends inside a packet; copy it again from its source"
                )
            _require_whole(path, _statements(container, path, extents), torn)
            return _tracks(container, extents)
    except (av.FFmpegError, UnicodeError) as error:
        raise MediaError(
            f"{path}: not a recording or cut short ({error.__class__.__name__}); expected video or "
            "sound as its extension says; copy it again or remove it"
        ) from error


def _extents(container: av.container.InputContainer) -> tuple[dict[int, _Extent], bool]:
    """The extent of each stream by its index, and whether the file ends inside a packet."""
    extents = {stream.index: _Extent() for stream in container.streams}
    torn = False
    try:
        for packet in container.demux():
            if packet.size:
                torn = packet.is_corrupt
                extent = extents[packet.stream.index]
                if packet.is_discard:  # an edit list hides it
                    extent.hide(packet)
                else:
                    extent.add(packet)
    except IndexError:  # of PyAV, after the last packet of a file that named a stream late
        pass
    except av.FFmpegError:
        torn = True
    return extents, torn


def _tracks(container: av.container.InputContainer, extents: dict[int, _Extent]) -> Tracks:
    films = (_picture(one, extents[one.index]) for one in container.streams.video)
    sounds = (_sound(one, extents[one.index]) for one in container.streams.audio)
    return Tracks(next(filter(None, films), None), tuple(filter(None, sounds)))


def _picture(stream: av.VideoStream, extent: _Extent) -> PictureTrack | None:
    fps = float(stream.average_rate or stream.guessed_rate or Fraction(0))
    if not fps or not extent.times_s or _is_cover(stream):
        return None
    held = extent.decodable()
    # two fields of a frame may come in two packets, and some packets show nothing
    filled_s = held.length_s - held.holes_s
    frames = min(len(held.times_s), max(1, round(fps * filled_s)))
    missing = round(frames * held.holes_s / filled_s) if filled_s else 0
    square = (stream.sample_aspect_ratio or 1) == 1
    size = stream.codec_context.width, stream.codec_context.height
    return PictureTrack(stream.index, fps, square, frames + missing, held.length_s, *size)


def _sound(stream: av.AudioStream, extent: _Extent) -> SoundTrack | None:
    context = stream.codec_context
    if context is None or not extent.times_s:
        return None
    form = context.format.name if context.format else ""  # none of 0 channels, or of too many
    codec = PCM_CODECS.get(form.removesuffix("p"), "pcm_f32le")
    # a file that begins inside a packet may have some that overlap
    length_s = min(extent.length_s, sum(extent.lengths_s) + extent.holes_s)
    rate_hz, channels = context.sample_rate, context.channels
    return SoundTrack(stream.index, codec, length_s, extent.gaps_s, rate_hz, channels)


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is the cover of a sound file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _statements(
    container: av.container.InputContainer, path: Path, extents: dict[int, _Extent]
) -> Iterator[tuple[float, float]]:
    """Each length that the header states, and what the file holds of it, in seconds.

    A track's own length is without its start. For AVI, WAV, CAF and ASF libavformat corrects the
    length to what the file holds: there counts of frames, the size of the data chunk and the play
    time say what it should hold. That of an MP3 which does not count its frames is a guess.
    """
    form = container.format.name
    if form.startswith("mov"):
        films = (film for film in container.streams.video if not _is_cover(film))
        for track in (*films, *container.streams.audio):
            yield _seconds(track.duration, track.time_base), extents[track.index].length_s
    elif form == "avi":
        for film in container.streams.video[:1]:
            stated = film.frames if film.frames < PLACEHOLDER_FRAMES else 0
            yield _seconds(stated, film.time_base), extents[film.index].end_s
    elif form == "wav":
        yield _riff_length_s(path), extents[0].length_s
    elif form == "caf":
        sound = container.streams.audio[0]
        yield _seconds(sound.frames, sound.time_base), extents[sound.index].length_s
    elif form == "asf":
        yield _asf_length_s(path), max((one.length_s for one in extents.values()), default=0.0)
    elif form in STATING or (form == "mp3" and _counts_frames(path)):
        end_s = max((one.end_s for one in extents.values()), default=0.0)
        yield (container.duration or 0) / av.time_base, end_s


def _seconds(ticks: int | None, time_base: Fraction | None) -> float:
    """A time of a header, 0 where it states none."""
    return float(ticks * time_base) if ticks and time_base else 0.0


def _require_whole(path: Path, statements: Iterator[tuple[float, float]], torn: bool) -> None:
    for stated_s, held_s in statements:
        bound_s = TORN_S if torn else max(MISSING_S, MISSING_SHARE * stated_s)
        if stated_s - held_s > bound_s:
            raise MediaError(
                f"{path}: cut short: its header states {stated_s:.2f} s, it holds {held_s:.2f} s; "
                "copy it again from its source"
            )


def _riff_length_s(path: Path) -> float:
    """Seconds that a WAV's header states, whatever the file holds; 0 if it states none."""
    with path.open("rb") as stream:
        stream.seek(12)
        bytes_per_s = 0
        while len(head := stream.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"fmt ":
                bytes_per_s = int.from_bytes(stream.read(size)[8:12], "little")
            elif head[:4] == b"data":
                stated = bytes_per_s > 0 and size < PLACEHOLDER_BYTES
                return size / bytes_per_s if stated else 0.0
            else:
                stream.seek(size, 1)
            stream.seek(size % 2, 1)
    return 0.0


def _asf_length_s(path: Path) -> float:
    """Seconds that the header of a WMA or WMV states, whatever the file holds; 0 if none."""
    with path.open("rb") as stream:
        head = stream.read(ASF_HEAD_BYTES)
    _, found, facts = head.partition(ASF_PROPERTIES)
    play, _, preroll_ms, flags = (
        int.from_bytes(facts[start : start + 8], "little") for start in (48, 56, 64, 72)
    )
    is_live = flags & 1
    return play / 1e7 - preroll_ms / 1e3 if found and not is_live else 0.0


def _counts_frames(path: Path) -> bool:
    """Whether the first frame of an MP3, after its tags, says how many follow."""
    with path.open("rb") as stream:
        head = stream.read(10)
        if head[:3] == b"ID3":
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte
            stream.seek(len(head) + size)
        else:
            stream.seek(0)
        found = re.search(rb"VBRI|(?:Xing|Info)\0\0\0(.)", stream.read(200), re.DOTALL)
    return found is not None and (found[1] is None or bool(found[1][0] & 1))


def _ends_inside_page(path: Path) -> bool:
    """Whether the last page of an Ogg is shorter than it says."""
    size, end = path.stat().st_size, 0
    with path.open("rb") as stream:
        while (head := stream.read(27)) and b"OggS".startswith(head[:4]):
            lengths = stream.read(head[26]) if len(head) == 27 else b""
            end += 27 + len(lengths) + sum(lengths)
            if end > size:
                return True
            stream.seek(end)
    return False
