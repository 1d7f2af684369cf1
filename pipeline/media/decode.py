"""One recording to frames and sound: probed with PyAV, decoded by one ffmpeg pass.

Products of a clip:

    JPEGImages/<clip id>_<stored frame, 5 digits>.jpg    every `frame_step`-th frame of the source
    audio/<clip id>.wav                                  native rate, channels and depth
    record.json                                          the clip's `ClipRecord`
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
from pipeline.media.ffmpeg import run_ffmpeg
from pipeline.media.params import ExtractParams
from pipeline.media.probe import Tracks, probe

FRAMES = "JPEGImages"
SOUND = "audio"
RECORD = "record.json"

MISSING_SHARE = 0.1
"""A recording that decodes to less than 1 - this share of what its header states is cut short."""
MISSING_S = 0.2
"""... if also more than this is missing, in seconds: headers round, and sound may end early."""

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
class _Stream:
    """A file together with what is to be taken from it."""

    path: Path
    tracks: Tracks


def extract_clip(job: ExtractJob, folder: Path) -> None:
    """Write frames, sound and record of one clip.

    A clip may lack a modality (`frames` or `samples` is 0); whether it may stay is the corpus's
    question, see `pipeline.media.extract`. A video's own track that is digital silence is no sound;
    a separate sound file that is silent is an error.

    Raises:
        MediaError: a file is empty, no recording, damaged, cut short, too short, or silent.
    """
    clip, params = job.clip, job.params
    picture = _picture(clip) if job.picture and clip.video else None
    sound = _sound(clip, picture) if job.sound else None
    _decode(clip, params, folder, (picture, sound))
    frames = sorted((folder / FRAMES).glob("*.jpg"))
    samples, rate_hz = _check_sound(clip, params, folder) if sound else (0, 0)
    width_px, height_px = _frame_size(frames[0]) if frames else (0, 0)
    record = ClipRecord(
        clip_id=clip.clip_id,
        speaker=clip.speaker,
        emotion=clip.emotion,
        sentence=clip.sentence,
        frames=len(frames),
        fps=picture.tracks.fps if picture else 0.0,
        frame_step=params.frame_step,
        width_px=width_px,
        height_px=height_px,
        samples=samples,
        rate_hz=rate_hz,
    )
    _check_lengths(record, (picture, sound), params.min_duration_s)
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")


def read_record(folder: Path) -> ClipRecord:
    """The record that `extract_clip` wrote into `folder`."""
    return ClipRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))


def _picture(clip: Clip) -> _Stream:
    assert clip.video is not None
    tracks = probe(clip.video)
    if not tracks.fps:
        raise MediaError(
            f"{clip.video}: no picture in a video file; expected a video track; give the file a "
            "sound extension such as .wav, or set corpus.modalities: audio"
        )
    return _Stream(clip.video, tracks)


def _sound(clip: Clip, picture: _Stream | None) -> _Stream | None:
    """The clip's sound: the separate file if there is one, else the video's track if it has one."""
    if clip.audio is not None:
        tracks = probe(clip.audio)
        if not tracks.codec:
            raise MediaError(
                f"{clip.audio}: no sound in a sound file; expected an audio track; replace it or "
                "remove it"
            )
        return _Stream(clip.audio, tracks)
    assert clip.video is not None
    stream = picture or _Stream(clip.video, probe(clip.video))
    return stream if stream.tracks.codec else None


def _decode(
    clip: Clip, params: ExtractParams, folder: Path, streams: tuple[_Stream | None, _Stream | None]
) -> None:
    """The one ffmpeg pass; output names are relative to `folder`."""
    picture, sound = streams
    # one thread: worker processes share the cores; bitexact: no encoder names in the products
    sources = {
        stream.path: ffmpeg.input(f"file:{stream.path.resolve()}", threads=1)
        for stream in streams
        if stream
    }
    products = []
    if picture:
        (folder / FRAMES).mkdir()
        frames = sources[picture.path]["v:0"]
        if params.frame_step > 1:
            frames = frames.filter("select", f"not(mod(n,{params.frame_step}))")
        # passthrough: otherwise frames are repeated to fill the frame rate, 101 for 100
        options = {"fps_mode": "passthrough", "q:v": params.jpeg_quality, "start_number": 0}
        name = f"{FRAMES}/{clip.clip_id}_%05d.jpg"
        products.append(ffmpeg.output(frames, name, threads=1, bitexact=None, **options))
    if sound:
        (folder / SOUND).mkdir()
        options = {"c:a": sound.tracks.codec, "map_metadata": -1}
        name = f"{SOUND}/{clip.clip_id}.wav"
        products.append(ffmpeg.output(sources[sound.path]["a:0"], name, bitexact=None, **options))
    if products:
        recordings = " and ".join(str(path.resolve()) for path in sources)
        run_ffmpeg(ffmpeg.merge_outputs(*products), folder, recordings)


def _check_sound(clip: Clip, params: ExtractParams, folder: Path) -> tuple[int, int]:
    """Samples per channel and rate in Hz of the sound; (0, 0) after removing silence."""
    path = folder / SOUND / f"{clip.clip_id}.wav"
    peak = 0.0
    for block in soundfile.blocks(path, BLOCK, dtype="float32", always_2d=True):
        peak = float(np.maximum(peak, np.abs(block).max(initial=0.0)))  # keeps NaN
    if not np.isfinite(peak):
        raise MediaError(
            f"{clip.audio or clip.video}: sound holds NaN or infinity; export it again"
        )
    if peak > 10 ** (params.silence_dbfs / 20):
        sound = soundfile.info(path)
        return int(sound.frames), int(sound.samplerate)
    if clip.audio is not None:
        raise MediaError(
            f"{clip.audio}: digital silence (peak at or below {params.silence_dbfs:g} dBFS); "
            "expected speech; replace the file or lower extract.silence_dbfs"
        )
    path.unlink()
    return 0, 0


def _check_lengths(
    record: ClipRecord, streams: tuple[_Stream | None, _Stream | None], min_duration_s: float
) -> None:
    picture, sound = streams
    decoded_s: dict[Path, float] = {}
    if picture:
        decoded_s[picture.path] = record.frames * record.frame_step / record.fps
        _require_length(
            picture.path, record.frames * record.frame_step / record.fps, min_duration_s
        )
    if sound and record.samples:
        length_s = record.samples / record.rate_hz
        decoded_s[sound.path] = max(length_s, decoded_s.get(sound.path, 0.0))
        _require_length(sound.path, length_s, min_duration_s)
    for stream in streams:
        if stream and stream.path in decoded_s:
            _require_whole(stream, decoded_s[stream.path])


def _require_length(path: Path, length_s: float, min_duration_s: float) -> None:
    if length_s < min_duration_s:
        raise MediaError(
            f"{path}: lasts {length_s:.3f} s, expected at least {min_duration_s:g} s "
            "(extract.min_duration_s); remove it"
        )


def _require_whole(stream: _Stream, decoded_s: float) -> None:
    stated_s = stream.tracks.length_s
    if stated_s - decoded_s > max(MISSING_S, MISSING_SHARE * stated_s):
        raise MediaError(
            f"{stream.path}: cut short: its header states {stated_s:.2f} s, it decodes to "
            f"{decoded_s:.2f} s; copy it again from its source"
        )


def _frame_size(path: Path) -> tuple[int, int]:
    """Width and height in px of a JPEG."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height
