"""One recording to frames and sound: probed with PyAV, decoded by one ffmpeg pass.

Products of a clip:

    JPEGImages/<clip id>_<stored frame, 5 digits>.jpg    every `frame_step`-th frame of the source
    audio/<clip id>.wav                                  native rate, channels and depth
    record.json                                          the clip's `Decoded`
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import ffmpeg
import numpy as np
import soundfile

from pipeline.clips import Clip, ClipRecord
from pipeline.errors import MediaError
from pipeline.media.ffmpeg import complaint, run_ffmpeg
from pipeline.media.params import ExtractParams
from pipeline.media.probe import PictureTrack, SoundTrack, probe
from pipeline.media.sound import to_mono

FRAMES = "JPEGImages"
SOUND = "audio"
RECORD = "record.json"

LOST_SHARE = 0.1
"""A recording of which more than this share does not decode is damaged."""
LOST_FRAMES = 1
"""... if also more frames than this are lost,"""
LOST_S = 0.2
"""... or more sound than this, in seconds: packets round, and a codec may swallow its first."""

CORRUPT_FRAME = "corrupt decoded frame"
"""What ffmpeg says of a frame that it could decode in part only."""

SAME_RATE = 0.05
"""Share by which the frames of a recording may differ from what its stated rate gives."""

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


def extract_clip(job: ExtractJob, folder: Path) -> None:
    """Write frames, sound and record of one clip.

    A clip may lack a modality (`frames` or `samples` is 0); whether it may stay is the corpus's
    question, see `pipeline.media.extract`. The sound is the first track that is more than digital
    silence; a video with none has no sound, a separate sound file with none is an error.

    Raises:
        MediaError: a file is empty, no recording, damaged, cut short, too short, or silent.
    """
    clip, params = job.clip, job.params
    picture = _picture(clip) if job.picture and clip.video else None
    sound = _sound(clip) if job.sound else None
    messages = _decode(clip, params, folder, picture, sound)
    frames = sorted((folder / FRAMES).glob("*.jpg"))
    fps, lost_frames, samples, rate_hz, lost_sound = 0.0, 0.0, 0, 0, 0.0
    if picture:
        fps, lost_frames = _check_picture(picture, len(frames), params, messages)
    if sound:
        samples, rate_hz, lost_sound = _check_sound(clip, sound, params, folder, messages)
    width_px, height_px = _frame_size(frames[0]) if frames else (0, 0)
    record = ClipRecord(
        clip_id=clip.clip_id,
        speaker=clip.speaker,
        emotion=clip.emotion,
        sentence=clip.sentence,
        frames=len(frames),
        fps=fps,
        frame_step=params.frame_step,
        width_px=width_px,
        height_px=height_px,
        samples=samples,
        rate_hz=rate_hz,
    )
    if picture:
        _require_length(picture.path, len(frames) * params.frame_step / fps, params.min_duration_s)
    if sound and samples:
        _require_length(sound.path, samples / rate_hz, params.min_duration_s)
    decoded = Decoded(record, bool(sound) and not samples, max(lost_frames, lost_sound))
    (folder / RECORD).write_text(json.dumps(asdict(decoded), indent=1), encoding="utf-8")


def read_decoded(folder: Path) -> Decoded:
    """What `extract_clip` says of the clip that it wrote into `folder`."""
    values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return Decoded(**{**values, "record": ClipRecord(**values["record"])})


def read_record(folder: Path) -> ClipRecord:
    """The record of the clip that `extract_clip` wrote into `folder`."""
    return read_decoded(folder).record


def _picture(clip: Clip) -> _Picture:
    assert clip.video is not None
    track = probe(clip.video).picture
    if track is None:
        raise MediaError(
            f"{clip.video}: no picture in a video file; expected a video track; give the file a "
            "sound extension such as .wav, or set corpus.modalities: audio"
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
        # passthrough: otherwise frames are repeated to fill the frame rate, 101 for 100
        options = {"fps_mode": "passthrough", "q:v": params.jpeg_quality, "start_number": 0}
        name = f"{FRAMES}/{clip.clip_id}_%05d.jpg"
        products.append(ffmpeg.output(frames, name, threads=1, bitexact=None, **options))
    if sound:
        (folder / SOUND).mkdir()
        for track in sound.tracks:
            options = {"c:a": track.codec, "map_metadata": -1}
            heard, name = sources[sound.path][str(track.index)], f"{SOUND}/{track.index}.wav"
            products.append(ffmpeg.output(heard, name, bitexact=None, **options))
    if not products:
        return ""
    recordings = " and ".join(str(path.resolve()) for path in sources)
    return run_ffmpeg(ffmpeg.merge_outputs(*products), folder, recordings)


def _check_picture(
    picture: _Picture, stored: int, params: ExtractParams, messages: str
) -> tuple[float, float]:
    """Frames per second of the source, and the share of its frames that is lost.

    The header's rate stands unless the frames differ from it: a recording of variable rate has the
    mean of its own.
    """
    track, step = picture.track, params.frame_step
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
    meant = frames + missing
    stated = track.fps * track.length_s
    usual = not track.length_s or abs(stated - meant) <= max(1.5, SAME_RATE * meant)
    return track.fps if usual else meant / track.length_s, lost_share


def _check_sound(
    clip: Clip, sound: _Sound, params: ExtractParams, folder: Path, messages: str
) -> tuple[int, int, float]:
    """Samples per channel, rate in Hz and lost share of the first track that is heard.

    It gets the clip's name, the others are removed; zeros if all are silence. What follows it is
    not looked at.
    """
    heard = (0, 0, 0.0)
    for track in sound.tracks:
        path = folder / SOUND / f"{track.index}.wav"
        if not heard[0]:
            info = soundfile.info(path)
            lost_s = track.length_s - info.frames / info.samplerate
            if lost_s > max(LOST_S, LOST_SHARE * track.length_s):
                raise MediaError(
                    f"{sound.path}: damaged or cut short: {lost_s:.2f} of {track.length_s:.2f} s "
                    f"of sound do not decode ({complaint(messages)}); copy it again from its source"
                )
            if _peak(path, sound.path) > 10 ** (params.silence_dbfs / 20):
                path.rename(path.with_name(f"{clip.clip_id}.wav"))
                lost_share = lost_s / track.length_s if lost_s > LOST_S else 0.0
                heard = (info.frames, info.samplerate, lost_share)
                continue
        path.unlink()
    if not heard[0] and clip.audio is not None:
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
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height
