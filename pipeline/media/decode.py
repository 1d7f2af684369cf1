"""One recording to frames and sound on one clock: probed with PyAV, decoded by one ffmpeg pass.

Products of a clip:

    JPEGImages/<clip id>_<stored frame, 5 digits>.jpg    every `frame_step`-th frame of the source,
                                                         upright and with square pixels
    audio/<clip id>.wav                                  native rate, channels and depth
    record.json                                          the clip's `Decoded`
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import av
import ffmpeg
import numpy as np
import soundfile
from ffmpeg.nodes import FilterableStream

from pipeline.clips import CLOCK_TICK_S, Clip, ClipRecord, steady_times
from pipeline.errors import MediaError
from pipeline.media.ffmpeg import complaint, run_ffmpeg
from pipeline.media.params import ExtractParams
from pipeline.media.probe import GAP_S, PictureTrack, SoundTrack, probe
from pipeline.media.sound import to_mono

FRAMES = "JPEGImages"
SOUND = "audio"
RECORD = "record.json"

PICTURE = "picture"
TIMES = ".times"
"""Times of the frames of the picture, and of each track of sound by its number: not products."""

LOST_SHARE = 0.1
"""A recording of which more than this share does not decode is damaged."""
LOST_FRAMES = 1
"""... if also more frames than this are lost,"""
LOST_S = 0.2
"""... or more sound than this, in seconds: packets round, and a codec may swallow its first."""

CORRUPT_FRAME = "corrupt decoded frame"
"""What ffmpeg says of a frame that it could decode in part only."""

ROUNDING_S = 1e-3
"""Containers round times to ticks of up to this: frames no further off have a constant rate."""

RATES_HZ = (4_000, 384_000)
"""Of sound: telephones have 8 kHz, recorders up to 384. A header of 1 Hz would ask for gigabytes at
32 kHz."""
CHANNELS = 64
"""The most that a recorder has."""
FPS = (0.5, 1_000)
"""Mean rates of frames; what shows fewer or more is no talking head, or its header is damaged."""

BLOCK = 2**20
"""Samples that are looked at together; a long sound is never in memory as a whole."""


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """Payload of `extract_clip`."""

    clip: Clip
    picture: bool
    sound: bool
    params: ExtractParams


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of a clip.

    `silent`: it has tracks of sound, and all are digital silence. `lost_share`: of the frames or of
    the sound, whichever lost more, that does not decode.
    """

    record: ClipRecord
    silent: bool
    lost_share: float


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    track: PictureTrack


@dataclass(frozen=True, slots=True)
class _Sound:
    """A file with the tracks that may hold its sound, best first."""

    path: Path
    tracks: tuple[SoundTrack, ...]


class _Shown(NamedTuple):
    """Of a decoded picture: rate of the source in 1/s, times of the stored frames, lost share."""

    fps: float = 0.0
    times_s: tuple[float, ...] = ()
    lost_share: float = 0.0


class _Heard(NamedTuple):
    """Of the track that is heard: samples per channel, rate, beginning, lost share."""

    samples: int = 0
    rate_hz: int = 0
    start_s: float = 0.0
    lost_share: float = 0.0


def extract_clip(job: ExtractJob, folder: Path) -> None:
    """Write frames, sound and record of one clip.

    A clip may lack a modality (`frames` or `samples` is 0); whether it may stay is the corpus's
    question, see `pipeline.media.extract`. The sound is the first track that is more than digital
    silence; a video with none has no sound, a separate sound file with none is an error. Times of
    a file count from the beginning of its first track; separate files begin together.

    Raises:
        MediaError: a file is empty, no recording, damaged, cut short, too short, or silent.
    """
    clip, params = job.clip, job.params
    picture = _picture(clip, params) if job.picture and clip.video else None
    sound = _sound(clip) if job.sound else None
    messages = _decode(clip, params, folder, picture, sound)
    times_s = _take_times(folder)
    shown, heard = _Shown(), _Heard()
    if picture:
        shown = _check_picture(picture, times_s[PICTURE], params, messages)
    if sound:
        heard = _check_sound(clip, sound, times_s, params, folder, messages)
    frames = sorted((folder / FRAMES).glob("*.jpg"))
    width_px, height_px = _frame_size(frames[0]) if frames else (0, 0)
    record = ClipRecord(
        clip_id=clip.clip_id,
        speaker=clip.speaker,
        emotion=clip.emotion,
        sentence=clip.sentence,
        frames=len(frames),
        fps=shown.fps,
        frame_step=params.frame_step,
        width_px=width_px,
        height_px=height_px,
        samples=heard.samples,
        rate_hz=heard.rate_hz,
        picture_start_s=shown.times_s[0] if frames else 0.0,
        sound_start_s=heard.start_s,
        times_s=shown.times_s,
    )
    if picture:
        _require_length(picture.path, record.picture_s, params.min_duration_s)
    if sound and record.has_audio:
        _require_length(sound.path, record.sound_s, params.min_duration_s)
    silent, lost_share = bool(sound) and not heard.samples, max(shown.lost_share, heard.lost_share)
    values = json.dumps(asdict(Decoded(record, silent, lost_share)), indent=1)
    (folder / RECORD).write_text(values, encoding="utf-8")


def read_decoded(folder: Path) -> Decoded:
    """What `extract_clip` says of the clip that it wrote into `folder`."""
    values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record = values["record"]
    times_s = tuple(record["times_s"])
    return Decoded(**{**values, "record": ClipRecord(**{**record, "times_s": times_s})})


def read_record(folder: Path) -> ClipRecord:
    """The record of the clip that `extract_clip` wrote into `folder`."""
    return read_decoded(folder).record


def _picture(clip: Clip, params: ExtractParams) -> _Picture:
    assert clip.video is not None
    track = probe(clip.video).picture
    if track is None:
        raise MediaError(
            f"{clip.video}: no picture in a video file; expected a video track; give the file a "
            "sound extension such as .wav, or set corpus.modalities: audio"
        )
    if max(track.width_px, track.height_px) > params.max_side_px:
        raise MediaError(
            f"{clip.video}: pictures of {track.width_px} x {track.height_px} px, expected at most "
            f"{params.max_side_px} a side; make them smaller, or raise extract.max_side_px"
        )
    return _Picture(clip.video, track)


def _sound(clip: Clip) -> _Sound | None:
    """The separate sound file if there is one, else the video's tracks of sound if it has any."""
    path = clip.audio or clip.video
    assert path is not None
    tracks = probe(path).sounds
    if clip.audio is not None and not tracks:
        raise MediaError(
            f"{clip.audio}: no sound in a sound file; expected an audio track; replace it or "
            "remove it"
        )
    for track in tracks:
        plausible = RATES_HZ[0] <= track.rate_hz <= RATES_HZ[1]
        if not plausible or not 1 <= track.channels <= CHANNELS:
            raise MediaError(
                f"{path}: sound of {track.channels} channels at {track.rate_hz} Hz, expected 1 to "
                f"{CHANNELS} at {RATES_HZ[0]} to {RATES_HZ[1]} Hz; its header may be damaged: "
                "copy it again from its source"
            )
    return _Sound(path, tracks) if tracks else None


def _decode(
    clip: Clip, params: ExtractParams, folder: Path, picture: _Picture | None, sound: _Sound | None
) -> str:
    """The one ffmpeg pass, and what it complains of; output names are relative to `folder`."""
    # one thread: worker processes share the cores; bitexact: no encoder names in the products
    sources = {
        one.path: ffmpeg.input(f"file:{one.path.resolve()}", threads=1)
        for one in (picture, sound)
        if one
    }
    products = []
    if picture:
        (folder / FRAMES).mkdir()
        frames = sources[picture.path][str(picture.track.index)]
        if params.frame_step > 1:
            frames = frames.filter("select", f"not(mod(n,{params.frame_step}))")
        if not picture.track.square:
            frames = frames.filter("scale", "round(iw*max(1,sar))", "round(ih*max(1,1/sar))")
        # numbered: of two frames that state one time, the encoder would refuse the second
        frames = _timed(frames, PICTURE).filter("setpts", "N")
        # passthrough: otherwise frames are repeated to fill the frame rate, 101 for 100
        options = {"fps_mode": "passthrough", "q:v": params.jpeg_quality, "start_number": 0}
        options["enc_time_base"] = f"1:{round(1 / CLOCK_TICK_S)}"
        name = f"{FRAMES}/{clip.clip_id}_%05d.jpg"
        products.append(ffmpeg.output(frames, name, threads=1, bitexact=None, **options))
    if sound:
        (folder / SOUND).mkdir()
        for track in sound.tracks:
            options = {"c:a": track.codec, "map_metadata": -1}
            heard = _timed(sources[sound.path][str(track.index)], str(track.index), "a")
            if track.gaps_s:  # become silence; without this what follows them would come too early
                bound = {"min_comp": GAP_S, "min_hard_comp": GAP_S}
                heard = heard.filter("aresample", **{"async": 1}, **bound)
            name = f"{SOUND}/{track.index}.wav"
            products.append(ffmpeg.output(heard, name, bitexact=None, **options))
    if not products:
        return ""
    recordings = " and ".join(str(path.resolve()) for path in sources)
    return run_ffmpeg(ffmpeg.merge_outputs(*products), folder, recordings)


def _timed(stream: FilterableStream, name: str, kind: str = "") -> FilterableStream:
    """The stream, which on its way writes the time of each frame to `<name>.times`.

    Times are the container's, less the beginning of its first track, in ticks of `CLOCK_TICK_S`.
    `kind` is "a" for sound.
    """
    ticking = stream.filter(f"{kind}settb", f"{CLOCK_TICK_S:.6f}")
    # `print` leaves out frames without metadata
    marked = ticking.filter(f"{kind}metadata", "add", key="frame", value="shown")
    return marked.filter(f"{kind}metadata", "print", key="frame", file=f"{name}{TIMES}")


def _take_times(folder: Path) -> dict[str, list[float]]:
    """Times in s that `_timed` wrote, by name; the earliest of all is 0. The files are removed.

    They ascend: a frame that claims to come no later than the one before comes a tick later.
    """
    times_s = {}
    for path in sorted(folder.glob(f"*{TIMES}")):
        ticks = re.findall(r"\bpts:(-?\d+)", path.read_text(encoding="utf-8"))
        ascending = accumulate(map(int, ticks), lambda before, tick: max(tick, before + 1))
        times_s[path.stem] = list(ascending)
        path.unlink()
    begin = min((ticks[0] for ticks in times_s.values() if ticks), default=0)
    return {name: [(t - begin) * CLOCK_TICK_S for t in ticks] for name, ticks in times_s.items()}


def _check_picture(
    picture: _Picture, times_s: Sequence[float], params: ExtractParams, messages: str
) -> _Shown:
    """Rate of the source, times of the stored frames, and the share of its frames that is lost."""
    track, step, stored = picture.track, params.frame_step, len(times_s)
    # the source had so many frames that every `step`-th of them makes `stored`
    frames = min(max(track.frames, (stored - 1) * step + 1), stored * step)
    missing = max(0, track.frames - frames)
    lost = missing + min(frames, messages.count(CORRUPT_FRAME))
    if not stored or lost > max(LOST_FRAMES, LOST_SHARE * track.frames):
        raise MediaError(
            f"{picture.path}: damaged or cut short: {lost} of {track.frames} frames do not decode "
            f"({complaint(messages)}); copy it again from its source"
        )
    lost_share = lost / track.frames if lost > LOST_FRAMES else 0.0
    steady_s = steady_times(times_s[0], track.fps, step, stored)
    if _agree(times_s, steady_s, 1 / track.fps) and FPS[0] <= track.fps <= FPS[1]:
        return _Shown(track.fps, steady_s, lost_share)
    fps = (frames + missing) / track.length_s if track.length_s else track.fps
    if not FPS[0] <= fps <= FPS[1]:
        raise MediaError(
            f"{picture.path}: {frames + missing} frames in {track.length_s:g} s, expected "
            f"{FPS[0]:g} to {FPS[1]:g} a second; its header may be damaged: copy it again from its "
            "source"
        )
    return _Shown(fps, tuple(times_s), lost_share)


def _agree(times_s: Sequence[float], steady_s: Sequence[float], frame_s: float) -> bool:
    """Whether frames are shown at their constant rate, as far as times are stated exactly.

    An AVI tells when frames are decoded: where they are so in another order than they are shown,
    its first seems to come up to one frame, `frame_s`, too early.
    """
    late_s = np.subtract(times_s, steady_s)
    first_s = late_s[1:2].sum()
    return bool(
        np.abs(late_s[1:] - first_s).max(initial=0) <= ROUNDING_S
        and -ROUNDING_S <= first_s <= frame_s + ROUNDING_S
    )


def _check_sound(
    clip: Clip,
    sound: _Sound,
    times_s: Mapping[str, Sequence[float]],
    params: ExtractParams,
    folder: Path,
    messages: str,
) -> _Heard:
    """What the first track that is not silent holds; nothing if all are silence.

    It gets the clip's name, the others are removed. What follows it is not looked at.
    """
    heard = _Heard()
    for track in sound.tracks:
        path = folder / SOUND / f"{track.index}.wav"
        if not heard.samples:
            info = soundfile.info(path)
            lost_s = track.length_s - (info.frames / info.samplerate - track.gaps_s)
            if lost_s > max(LOST_S, LOST_SHARE * track.length_s):
                raise MediaError(
                    f"{sound.path}: damaged or cut short: {lost_s:.2f} of {track.length_s:.2f} s "
                    f"of sound do not decode ({complaint(messages)}); copy it again from its source"
                )
            if _peak(path, sound.path) > 10 ** (params.silence_dbfs / 20):
                path.rename(path.with_name(f"{clip.clip_id}.wav"))
                lost_share = lost_s / track.length_s if lost_s > LOST_S else 0.0
                start_s = times_s[str(track.index)][0]
                heard = _Heard(info.frames, info.samplerate, start_s, lost_share)
                continue
        path.unlink()
    if not heard.samples and clip.audio is not None:
        raise MediaError(
            f"{clip.audio}: digital silence (peak at or below {params.silence_dbfs:g} dBFS); "
            "expected speech; replace the file or lower extract.silence_dbfs"
        )
    return heard


def _peak(path: Path, source: Path) -> float:
    """Largest sample of a decoded track as one channel.

    Raises:
        MediaError: a sample is not finite; `source` names the recording.
    """
    peak = 0.0
    for block in soundfile.blocks(path, BLOCK, dtype="float32", always_2d=True):
        if not np.isfinite(block).all():
            raise MediaError(f"{source}: sound holds NaN or infinity; export it again")
        peak = max(peak, float(np.abs(to_mono(block.T)).max(initial=0.0)))
    return peak


def _require_length(path: Path, length_s: float, min_duration_s: float) -> None:
    if length_s < min_duration_s:
        raise MediaError(
            f"{path}: lasts {length_s:.3f} s, expected at least {min_duration_s:g} s "
            "(extract.min_duration_s); remove it"
        )


def _frame_size(path: Path) -> tuple[int, int]:
    """Width and height in px of a JPEG."""
    with av.open(f"file:{path.resolve()}") as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height
