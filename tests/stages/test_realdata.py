"""Extract and resample on real recordings; `AVEMO_REALDATA` names their folder."""

import csv
import os
import shutil
from pathlib import Path

import pytest
import soundfile

from pipeline.audio import resampled_length
from pipeline.clips import EMOTIONS, emotions_of, read_clips
from stages import extract, resample

REALDATA = os.environ.get("AVEMO_REALDATA")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not REALDATA, reason="AVEMO_REALDATA names no folder"),
]


def real(name):
    return Path(REALDATA or "") / name


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run_stages(name, root, modalities="auto", method="soxr"):
        (tmp_path / "params.yaml").write_text(
            f"corpus: {{name: {name}, root: {root}, modalities: {modalities}}}\n"
            "extract: {frame_step: 5, jpeg_quality: 2, min_duration_s: 0.1, silence_dbfs: -70, "
            f"max_bad_fraction: 0.4}}\nresample: {{method: {method}, quality: high}}\n"
        )
        out = tmp_path / "data"
        extract.main(
            out / "clips.csv", out / "quarantine.csv", out / "voc/JPEGImages", out / "audio",
            out / "truth",
        )  # fmt: skip
        resample.main(out / "audio", out / "clips.csv", out / "audio32k")
        return out, read_clips(out / "clips.csv")

    return run_stages


def check_sound(out, records):
    for record in records:
        info = soundfile.info(out / "audio32k" / f"{record.clip_id}.wav")
        assert (info.samplerate, info.channels) == (32_000, 1)
        assert info.frames == resampled_length(record.samples, record.rate_hz)


def test_cremad(run):
    out, records = run("cremad", real("cremad"))
    assert emotions_of(records) == EMOTIONS[:6]
    assert {(r.speaker, r.sentence, r.rate_hz) for r in records} == {("1001", "DFA", 44_100)}
    for record in records:
        assert (record.width_px, record.height_px) == (480, 360)
        assert record.fps == pytest.approx(29.97, abs=0.01)
        pictured_s = record.frames * record.frame_step / record.fps
        assert abs(record.duration_s - pictured_s) < 5 / 29.97 + 0.06
    assert len(list((out / "voc/JPEGImages").iterdir())) == sum(r.frames for r in records)
    check_sound(out, records)


def test_ravdess_picture_and_sound(run):
    out, records = run("ravdess", real("ravdess_av"))
    assert [record.frames for record in records] == [20, 20]  # of 99 and 98
    check_sound(out, records)
    with (out / "quarantine.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert "02-01-04-01-02-01-01.mp4: no sound" in row["reason"]  # its track is silent
    _, records = run("ravdess", real("ravdess_av"), modalities="video")
    assert [record.has_audio for record in records] == [False] * 3


def test_ravdess_sound_is_mono_or_stereo(run, tmp_path):
    stereo = []
    for path in sorted(real("ravdess_audio").glob("Actor_*/*.flac")):
        if soundfile.info(path).channels == 2:
            stereo.append(path)
    assert 0 < len(stereo) <= 5
    root = tmp_path / "some"
    for path in [*stereo, *sorted(real("ravdess_audio/Actor_03").glob("*.flac"))[:20]]:
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.parent.name)
    out, records = run("ravdess", root)
    assert len(records) >= 20 and all(record.rate_hz == 48_000 for record in records)
    kept = {path.stem[3:] for path in stereo}
    for record in records:
        channels = soundfile.info(out / "audio" / f"{record.clip_id}.wav").channels
        assert channels == (2 if record.clip_id in kept else 1)
    check_sound(out, records)
