import signal
import subprocess

import ffmpeg
import numpy as np
import pytest
import soundfile
from tiny_media import cut, make_sound, make_video

from pipeline.clips import Clip
from pipeline.errors import MediaError
from pipeline.media.decode import ExtractJob, extract_clip, read_record
from pipeline.media.ffmpeg import find_ffmpeg, run_ffmpeg
from pipeline.media.params import ExtractParams

PARAMS = ExtractParams(
    frame_step=1, jpeg_quality=2, min_duration_s=0.1, silence_dbfs=-70, max_bad_fraction=0.1
)


def extract(folder, video=None, audio=None, **changes):
    clip = Clip("DC_a01", "DC", "anger", "common1", video, audio)
    folder.mkdir(parents=True)
    extract_clip(ExtractJob(clip, True, True, PARAMS.model_copy(update=changes)), folder)
    return read_record(folder)


def products(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_100_frame_avi_gives_100_frames_and_every_fifth_is_every_fifth(tmp_path):
    video = make_video(tmp_path / "a.avi", seconds=4)
    every = extract(tmp_path / "every", video)
    fifth = extract(tmp_path / "fifth", video, frame_step=5)
    assert (every.frames, fifth.frames) == (100, 20)
    assert (every.fps, every.width_px, every.height_px, every.rate_hz) == (25, 64, 48, 44_100)
    assert fifth.duration_s == pytest.approx(4)
    for stored in range(20):
        wanted = tmp_path / f"every/JPEGImages/DC_a01_{5 * stored:05d}.jpg"
        got = tmp_path / f"fifth/JPEGImages/DC_a01_{stored:05d}.jpg"
        assert got.read_bytes() == wanted.read_bytes()


def test_sound_keeps_rate_channels_and_every_sample(tmp_path):
    rng = np.random.default_rng(0)
    for subtype, dtype in (("PCM_16", "int16"), ("PCM_24", "int32"), ("FLOAT", "float32")):
        source = tmp_path / f"{subtype}.wav"
        soundfile.write(source, rng.uniform(-0.9, 0.9, (9_600, 2)), 48_000, subtype=subtype)
        record = extract(tmp_path / subtype, audio=source)
        assert (record.samples, record.rate_hz, record.frames) == (9_600, 48_000, 0)
        expected, _ = soundfile.read(source, dtype=dtype)
        got, _ = soundfile.read(tmp_path / subtype / "audio/DC_a01.wav", dtype=dtype)
        np.testing.assert_array_equal(got, expected)


def test_a_separate_sound_file_is_preferred(tmp_path):
    video = make_video(tmp_path / "a.avi", sound="anoisesrc")
    record = extract(tmp_path / "out", video, make_sound(tmp_path / "a.wav", 0.5, 48_000))
    assert (record.samples, record.rate_hz, record.frames) == (24_000, 48_000, 10)


def test_same_recording_gives_the_same_bytes_wherever_it_lies(tmp_path):
    video = make_video(tmp_path / "a.avi")
    odd = tmp_path / "Zoë 100% [1]:'x'" / "-é ü.avi"
    odd.parent.mkdir()
    odd.write_bytes(video.read_bytes())
    extract(tmp_path / "plain", video)
    extract(tmp_path / "odd 50%d", odd)
    assert products(tmp_path / "plain") == products(tmp_path / "odd 50%d")


def test_a_silent_track_of_a_video_is_no_sound(tmp_path):
    record = extract(tmp_path / "out", make_video(tmp_path / "a.mp4", sound="anullsrc"))
    assert (record.has_video, record.has_audio) == (True, False)
    assert not list((tmp_path / "out/audio").iterdir())


def test_a_video_without_sound_has_none(tmp_path):
    record = extract(tmp_path / "out", make_video(tmp_path / "a.mp4", sound=None))
    assert (record.frames, record.samples) == (10, 0)


@pytest.mark.parametrize("suffix", ["avi", "mp4", "flv"])
@pytest.mark.parametrize("share", [0.9, 0.5])
def test_a_truncated_video_is_refused(tmp_path, suffix, share):
    video = cut(make_video(tmp_path / f"a.{suffix}", seconds=2), share)
    with pytest.raises(MediaError, match=rf"a\.{suffix}: (damaged or )?cut short"):
        extract(tmp_path / "out", video)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_truncated_sound_file_is_refused(tmp_path, suffix):
    sound = cut(make_sound(tmp_path / f"a.{suffix}", seconds=1), 0.5)
    with pytest.raises(MediaError, match=rf"a\.{suffix}: (damaged or )?cut short"):
        extract(tmp_path / "out", audio=sound)


def test_a_damaged_video_is_refused(tmp_path):
    video = make_video(tmp_path / "a.mp4", seconds=1)
    content = bytearray(video.read_bytes())
    content[-2000:-500] = bytes(1500)
    video.write_bytes(content)
    with pytest.raises(MediaError, match="damaged or cut short"):
        extract(tmp_path / "out", video)


def test_each_bad_file_has_its_message(tmp_path):
    zero, text = tmp_path / "zero.wav", tmp_path / "text.avi"
    zero.touch()
    text.write_text("not a recording\n" * 100)
    sound = make_sound(tmp_path / "sound.wav")
    mute = make_video(tmp_path / "mute.mp4", sound=None)
    cases = [
        ((None, zero), "zero.wav: got 0 bytes"),
        ((text, None), "text.avi: not a recording"),
        ((sound, None), "sound.wav: no picture in a video file"),
        ((None, mute), "mute.mp4: no sound in a sound file"),
        ((None, make_sound(tmp_path / "still.wav", level=0)), "still.wav: digital silence"),
        ((None, make_sound(tmp_path / "brief.wav", 0.05)), "brief.wav: lasts 0.050 s, expected"),
        ((make_video(tmp_path / "b.avi", 0.04), sound), "b.avi: lasts 0.040 s, expected"),
    ]
    for number, (files, message) in enumerate(cases):
        with pytest.raises(MediaError) as caught:
            extract(tmp_path / str(number), *files)
        assert message in str(caught.value) and str(tmp_path) in str(caught.value)
        assert ";" in str(caught.value) or "(extract" in str(caught.value)  # a remedy follows


def test_silence_is_a_question_of_the_threshold(tmp_path):
    faint = make_sound(tmp_path / "faint.wav", level=1e-3)  # -60 dBFS
    assert extract(tmp_path / "kept", audio=faint).has_audio
    with pytest.raises(MediaError, match="below -50 dBFS"):
        extract(tmp_path / "refused", audio=faint, silence_dbfs=-50)


def test_a_clip_trimmed_without_recoding_is_whole(tmp_path):
    long = make_video(tmp_path / "long.mp4", seconds=2)
    trimmed = tmp_path / "trimmed.mp4"  # an edit list hides frames that the file still counts
    command = [find_ffmpeg().executable, "-nostdin", "-v", "error", "-ss", "1.4", "-i", str(long)]
    subprocess.run([*command, "-c", "copy", str(trimmed)], check=True)
    assert extract(tmp_path / "out", trimmed).duration_s == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize(
    ("signal_number", "error"), [(signal.SIGSEGV, MediaError), (signal.SIGTERM, OSError)]
)
def test_a_recording_that_crashes_ffmpeg_is_bad_but_an_ended_ffmpeg_is_not(
    tmp_path, monkeypatch, signal_number, error
):
    done = subprocess.CompletedProcess([], -signal_number, "", "")
    find_ffmpeg()
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **more: done)
    with pytest.raises(error, match=r"^a\.avi: "):
        run_ffmpeg(ffmpeg.output(ffmpeg.input("a.avi"), "a.wav"), tmp_path, "a.avi")
