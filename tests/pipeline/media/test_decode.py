import errno
import itertools
import os
import re
import resource
import signal
import subprocess

import ffmpeg
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from tiny_media import (
    EXTRACT,
    PCM,
    brightening,
    cut,
    encode,
    make_sound,
    make_video,
    picture,
    stream,
    told_time_s,
    tone,
)

from pipeline.clips import Clip
from pipeline.errors import MediaError
from pipeline.media.decode import ExtractJob, extract_clip, read_decoded, read_record
from pipeline.media.ffmpeg import find_ffmpeg, run_ffmpeg
from pipeline.media.probe import probe


def extract(folder, video=None, audio=None, **changes):
    clip = Clip("DC_a01", "DC", "anger", "common1", video, audio)
    folder.mkdir(parents=True)
    extract_clip(ExtractJob(clip, True, True, EXTRACT.model_copy(update=changes)), folder)
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


@pytest.mark.parametrize(
    "suffix", ["wav", "flac", "mp3", "oga", "opus", "m4a", "wma", "wv", "tta", "aiff", "caf", "w64"]
)
def test_a_truncated_sound_file_is_refused(tmp_path, suffix):
    sound = encode(tmp_path / f"a.{suffix}", *tone(3))
    assert extract(tmp_path / "whole", audio=sound).sound_s == pytest.approx(3, abs=0.05)
    with pytest.raises(MediaError, match=rf"a\.{suffix}: .*cut short"):
        extract(tmp_path / "out", audio=cut(sound, 0.5))


@pytest.mark.parametrize("form", ["mp3", "ogg", "caf", "asf", "wv"])
def test_sound_from_a_pipe_is_read_to_its_end(tmp_path, form):
    sound = stream(tmp_path / "a", *tone(3), "-f", form)
    assert extract(tmp_path / "out", audio=sound).sound_s == pytest.approx(3, abs=0.06)


def test_where_nothing_counts_the_frames_of_an_mp3_a_part_passes_for_the_whole(tmp_path):
    sound = encode(tmp_path / "a.mp3", *tone(3), "-write_xing", "0", "-q:a", "9")
    assert extract(tmp_path / "out", audio=cut(sound, 0.5)).sound_s == pytest.approx(1.5, abs=0.1)


def test_a_damaged_video_is_refused(tmp_path):
    video = make_video(tmp_path / "a.mp4", seconds=1)
    content = bytearray(video.read_bytes())
    content[-2000:-500] = bytes(1500)
    video.write_bytes(content)
    with pytest.raises(MediaError, match="damaged or cut short"):
        extract(tmp_path / "out", video)


def test_a_limit_on_the_size_of_files_is_no_fault_of_the_recording(tmp_path):
    sound = make_sound(tmp_path / "a.wav", seconds=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            extract(tmp_path / "out", audio=sound)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG and caught.value.filename


def test_each_bad_file_has_its_message(tmp_path):
    zero, text = tmp_path / "zero.wav", tmp_path / "text.avi"
    zero.touch()
    text.write_text("not a recording\n" * 100)
    sound = make_sound(tmp_path / "sound.wav")
    mute = make_video(tmp_path / "mute.mp4", sound=None)
    listed = tmp_path / "list.avi"
    listed.write_text("ffconcat version 1.0\nfile sound.wav\n")
    odd = tmp_path / os.fsdecode(b"\xfc.wav")
    odd.write_bytes(sound.read_bytes())
    cases = [
        ((None, zero), "zero.wav: got 0 bytes"),
        ((text, None), "text.avi: not a recording"),
        ((None, listed), "list.avi: a list of other files (concat)"),
        ((sound, None), "sound.wav: no picture in a video file"),
        ((None, mute), "mute.mp4: no sound in a sound file"),
        ((None, odd), "\\udcfc.wav: got a name that is not UTF-8"),
        ((None, make_sound(tmp_path / "still.wav", level=0)), "still.wav: digital silence"),
        ((None, make_sound(tmp_path / "brief.wav", 0.05)), "brief.wav: lasts 0.050 s, expected"),
        ((make_video(tmp_path / "b.avi", 0.04), sound), "b.avi: lasts 0.040 s, expected"),
    ]
    for number, (files, message) in enumerate(cases):
        with pytest.raises(MediaError) as caught:
            extract(tmp_path / str(number), *files)
        assert message in str(caught.value) and str(tmp_path) in str(caught.value)
        assert ";" in str(caught.value) or "(extract" in str(caught.value)  # a remedy follows


def test_what_no_camera_or_recorder_makes_is_refused_before_it_is_decoded(tmp_path):
    wav = bytearray(make_sound(tmp_path / "slow.wav", 1).read_bytes())
    wav[24:28] = (1).to_bytes(4, "little")  # the rate of a header
    (tmp_path / "slow.wav").write_bytes(wav)
    with pytest.raises(MediaError, match=r"slow\.wav: sound of 1 channels at 1 Hz, expected"):
        extract(tmp_path / "rate", audio=tmp_path / "slow.wav")
    video = make_video(tmp_path / "wide.avi", seconds=1)
    with pytest.raises(MediaError, match=r"wide\.avi: pictures of .* px, expected at most 16"):
        extract(tmp_path / "size", video, max_side_px=16)


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
    ("name", "arguments"),
    [
        ("late.mp4", [*picture(), "-itsoffset", "0.7", *tone()]),
        ("late.avi", [*picture(), "-itsoffset", "0.7", *tone()]),
        ("late.flv", ["-itsoffset", "0.7", *picture(), *tone()]),
        ("late.mkv", [*picture(), "-itsoffset", "0.7", *tone()]),
        ("both.mkv", [*picture(), *tone(), "-output_ts_offset", "3.3"]),
        ("both.mpg", [*picture(), *tone()]),
        ("both.ts", [*picture(), *tone()]),
        ("long.flv", [*picture(), *tone(5)]),
        ("long.mkv", [*picture(), *tone(5)]),
        ("long.mp4", [*picture(), *tone(5)]),
    ],
)
def test_tracks_that_begin_late_or_end_apart_are_whole(tmp_path, name, arguments):
    video = encode(tmp_path / name, *arguments)
    other = make_sound(tmp_path / "other.wav", 2)
    alone = extract(tmp_path / "alone", video)
    assert (alone.frames, alone.fps) == (50, 25)
    assert alone.samples / alone.rate_hz == pytest.approx(5 if "long" in name else 2, abs=0.06)
    assert extract(tmp_path / "with", video, other).samples == 88_200


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 2**32 - 1])
@pytest.mark.parametrize("odd", [0, 1])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, size, odd):
    sound = stream(tmp_path / "a.wav", *tone(1), "-f", "wav")
    content = bytearray(sound.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = size.to_bytes(4, "little")
    sound.write_bytes(content[: len(content) - odd])
    assert extract(tmp_path / "out", audio=sound).samples == 44_100 - odd


@pytest.mark.parametrize("form", ["avi", "matroska", "flv", "mpegts"])
def test_a_video_from_a_pipe_is_read_to_its_end(tmp_path, form):
    video = stream(tmp_path / "a", *picture(), *tone(), "-f", form)
    record = extract(tmp_path / "out", video)
    assert (record.frames, record.fps) == (50, 25)
    assert record.samples == pytest.approx(88_200, abs=3_000)


@pytest.mark.parametrize("suffix", ["mpg", "ts"])
def test_a_recording_that_begins_inside_a_group_of_pictures_begins_at_the_next(tmp_path, suffix):
    video = encode(tmp_path / f"a.{suffix}", *picture(3), *tone(3))
    content = video.read_bytes()
    video.write_bytes(content[len(content) // 8 :])
    record = extract(tmp_path / "out", video)
    assert 30 < record.frames < 75 and record.fps == 25
    assert record.samples > 88_200


def test_what_is_lost_inside_is_counted_and_judged_by_its_share(tmp_path):
    whole = encode(tmp_path / "a.mp4", *picture(4), *tone(4), "-movflags", "faststart").read_bytes()
    refused = {}
    for share in (0.03, 0.4):
        start, length = len(whole) // 2, int(len(whole) * share)
        video = tmp_path / f"{share}.mp4"
        video.write_bytes(whole[:start] + bytes(length) + whole[start + length :])
        try:
            extract(tmp_path / str(share), video)
        except MediaError as error:
            refused[share] = str(error)
    assert 0.01 < read_decoded(tmp_path / "0.03").lost_share < 0.1
    assert re.search(r"0\.4\.mp4: damaged or cut short: \d+ of 100 frames do", refused.pop(0.4))
    assert not refused


def test_a_hole_between_packets_is_a_loss(tmp_path):
    video = encode(tmp_path / "a.ts", *picture(4), *tone(4))
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 3] + content[2 * len(content) // 3 :])
    with pytest.raises(MediaError, match=r"a\.ts: damaged or cut short: \d\d of 100 frames"):
        extract(tmp_path / "out", video)


def restamped(video, ticks_of_40_ms):
    """The same packets, each at another time."""
    moved = ["-c", "copy", "-bsf:v", f"setts=ts=({ticks_of_40_ms})*0.04/TB"]
    return encode(video.with_name(f"moved_{video.name}"), "-i", str(video), *moved)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_frame_that_claims_to_come_an_hour_late_is_a_loss(tmp_path, suffix):
    video = encode(tmp_path / f"a.{suffix}", *picture(), "-c:v", "mjpeg")
    with pytest.raises(MediaError, match=r"damaged or cut short: \d+ of \d+ frames do not decode"):
        extract(tmp_path / "out", restamped(video, "N+90000*eq(N\\,49)"))


def test_frames_that_claim_one_time_come_one_after_another(tmp_path):
    video = encode(tmp_path / "a.mkv", *picture(), "-c:v", "mjpeg")
    record = extract(tmp_path / "out", restamped(video, "N-mod(N\\,2)"))
    assert record.frames == 50
    assert all(b > a for a, b in itertools.pairwise(record.times_s))
    assert record.times_s[2::2] == pytest.approx(np.arange(2, 50, 2) / 25, abs=2e-3)


def test_opposite_phases_are_no_silence(tmp_path):
    path = tmp_path / "a.wav"
    left = np.sin(np.arange(8_000) / 9)
    soundfile.write(path, np.stack([left, -left], 1), 8_000)
    assert extract(tmp_path / "out", audio=path).samples == 8_000


def test_a_silent_track_does_not_hide_the_one_after_it(tmp_path):
    silence = ["-f", "lavfi", "-i", "anullsrc=sample_rate=44100"]
    tracks = ["-map", "0:v", "-map", "1:a", "-map", "2:a", "-t", "2"]
    video = encode(tmp_path / "a.mkv", *picture(), *silence, *tone(), *tracks)
    assert extract(tmp_path / "out", video).samples == pytest.approx(88_200, abs=2_000)
    assert [path.name for path in (tmp_path / "out/audio").iterdir()] == ["DC_a01.wav"]
    assert not read_decoded(tmp_path / "out").silent


def test_the_cover_of_a_sound_file_is_no_picture(tmp_path):
    cover = ["-map", "0:v", "-map", "1:a", "-c:v", "mjpeg", "-disposition:v", "attached_pic"]
    sound = encode(tmp_path / "a.mp3", *picture(0.04), *tone(), *cover)
    assert probe(sound).picture is None
    assert extract(tmp_path / "out", audio=sound).samples == pytest.approx(88_200, abs=2_000)


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    path = tmp_path / "a.flv"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(MediaError, match=r"a\.flv: got a Git LFS pointer.* `git lfs pull`"):
        extract(tmp_path / "out", path)


@pytest.mark.parametrize("make", [encode, stream])
def test_the_rate_of_a_variable_rate_is_its_mean(tmp_path, make):
    # 5 of 8 frames at 30 per second: 18.75; in ticks of 1 ms, as browsers record
    thinned = [*picture(4, 30), "-vf", "select='lt(mod(n,8),5)'", "-fps_mode", "vfr"]
    record = extract(tmp_path / "out", make(tmp_path / "a.webm", *thinned, "-f", "webm"))
    assert (record.frames, record.fps) == (75, pytest.approx(18.75, rel=0.03))
    fourth = extract(tmp_path / "fourth", tmp_path / "a.webm", frame_step=4)
    assert (fourth.frames, fourth.fps) == (19, record.fps)


def without_rate(webm):
    """A WebM that states no frame rate, as of a browser: DefaultDuration becomes Void."""
    content = webm.read_bytes()
    assert b"\x23\xe3\x83\x84" in content
    webm.write_bytes(content.replace(b"\x23\xe3\x83\x84", b"\xec\x86\x00\x00"))
    return webm


THINNED = ["-vf", "select='lt(mod(n,8),5)'", "-fps_mode", "vfr"]
CASES = [
    # name, arguments, when picture and sound begin
    ("plain.mp4", [*brightening(), *tone()], 0, 0),
    ("vfr.webm", [*brightening(2, 30), *tone(), *THINNED], 0, 0),
    ("vfr.mp4", [*brightening(2, 30), *tone(), *THINNED], 0, 0),
    ("rateless.webm", [*brightening(), *tone()], 0, 0),
    ("rateless_vfr.webm", [*brightening(2, 30), *tone(), *THINNED], 0, 0),
    ("picture_late.mp4", ["-itsoffset", "0.72", *brightening(), *tone()], 0.72, 0),
    ("picture_late.flv", ["-itsoffset", "2.4", *brightening(), *tone(5), *PCM], 2.4, 0),
    ("sound_late.mkv", [*brightening(), "-itsoffset", "0.25", *tone()], 0, 0.25),
    ("sound_late.ts", [*brightening(), "-itsoffset", "0.7", *tone()], 0, 0.7),
    ("both_late.mkv", [*brightening(), *tone(), "-output_ts_offset", "3.3"], 0, 0),
]


@pytest.mark.parametrize(("name", "arguments", "picture_s", "sound_s"), CASES)
@pytest.mark.parametrize("frame_step", [1, 3])
def test_frames_and_sound_have_their_true_times(
    tmp_path, name, arguments, picture_s, sound_s, frame_step
):
    video = encode(tmp_path / name, *arguments)
    if "rateless" in name:
        without_rate(video)
    record = extract(tmp_path / "out", video, frame_step=frame_step)
    frames = sorted((tmp_path / "out/JPEGImages").iterdir())
    told_s = [picture_s + told_time_s(frame) for frame in frames]
    assert record.times_s == pytest.approx(told_s, abs=0.025)
    assert record.picture_start_s == record.times_s[0] == pytest.approx(picture_s, abs=0.025)
    assert record.sound_start_s == pytest.approx(sound_s, abs=0.025)
    assert record.frames * record.frame_step / record.fps == pytest.approx(2, abs=0.15)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "JPEGImages", "audio", "record.json",
    }  # fmt: skip


def test_separate_files_begin_together(tmp_path):
    video = encode(tmp_path / "a.mkv", *picture(), *tone(), "-output_ts_offset", "1.5")
    record = extract(tmp_path / "out", video, make_sound(tmp_path / "a.wav", 2))
    assert record.picture_start_s == pytest.approx(0, abs=0.03) and record.sound_start_s == 0


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_sound_that_pauses_goes_on_at_its_time(tmp_path, suffix):
    heard = "sine=sample_rate=48000:duration=3,aselect='not(between(t,1,1.45))'"
    film = [*picture(3), "-f", "lavfi", "-i", heard]
    record = extract(tmp_path / "out", encode(tmp_path / f"a.{suffix}", *film))
    assert record.sound_s == pytest.approx(3, abs=0.06)
    sound, rate_hz = soundfile.read(tmp_path / "out/audio/DC_a01.wav")
    level = np.abs(sound[: 3 * rate_hz - 9_000]).reshape(-1, 3_000).max(axis=1)  # of 1/16 s
    is_silent = level < 0.3 * level.max()
    assert not is_silent[:15].any() and is_silent[17:22].all() and not is_silent[24:].any()
    assert read_decoded(tmp_path / "out").lost_share == 0


@pytest.mark.parametrize(
    ("aspect", "size_px"), [("1/1", (64, 48)), ("2/1", (128, 48)), ("3/4", (64, 64))]
)
def test_pixels_are_square(tmp_path, aspect, size_px):
    wide = [*picture(0.4), "-vf", f"setsar={aspect}"]
    record = extract(tmp_path / "out", encode(tmp_path / "a.mp4", *wide))
    assert (record.width_px, record.height_px) == size_px
    turned = tmp_path / "turned.mp4"  # as phones do: by a note of it
    encode(turned, "-display_rotation", "90", "-i", str(tmp_path / "a.mp4"), "-c", "copy")
    record = extract(tmp_path / "turned", turned)
    assert (record.width_px, record.height_px) == size_px[::-1]


def test_an_even_rate_is_told_from_rounded_times(tmp_path):
    video = encode(tmp_path / "a.mkv", *picture(2, 30), "-r", "30000/1001")  # in ticks of 1 ms
    record = extract(tmp_path / "out", video, frame_step=3)
    assert record.fps == pytest.approx(30_000 / 1001)
    assert record.times_s == tuple(n / (record.fps / 3) for n in range(record.frames))


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


@pytest.mark.parametrize(
    "script", ["exit 127", "exit 0", "echo ffmpeg version 4.4.2-0ubuntu0", "kill -9 $$"]
)
def test_an_ffmpeg_that_does_not_run_or_is_too_old_is_passed_over(
    tmp_path, monkeypatch, caplog, script
):
    broken = tmp_path / "ffmpeg"
    broken.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    packaged = find_ffmpeg.__wrapped__()
    assert packaged.executable == imageio_ffmpeg.get_ffmpeg_exe()
    assert (str(broken) in caplog.text) == ("version" not in script)


@pytest.mark.parametrize("rate", [[], THINNED])
def test_a_film_that_was_trimmed_without_encoding_it_anew_counts_all_its_frames(tmp_path, rate):
    film = [*brightening(3, 30), *tone(3), *rate, "-g", "15", "-bf", "2"]
    whole = encode(tmp_path / "whole.mp4", *film)
    arguments = ["-ss", "0.2", "-i", str(whole), "-t", "1.7", "-c", "copy"]
    trimmed = encode(tmp_path / "trimmed.mp4", *arguments)
    record, track = extract(tmp_path / "out", trimmed), probe(trimmed).picture
    before = probe(whole).picture
    assert record.frames == pytest.approx(1.8 * before.frames / 3, abs=3)
    assert track.frames == pytest.approx(record.frames, abs=2)
    assert record.fps == pytest.approx(before.frames / 3, rel=0.05)
    assert record.picture_s == pytest.approx(1.8, abs=0.1)
