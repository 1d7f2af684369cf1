import csv
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny_media import cut, make_sound, make_video

from pipeline.clips import read_clips
from pipeline.errors import CorpusError
from pipeline.work.executors import executors_from
from stages.extract import main

GOOD = ("DC_a01", "DC_d01", "DC_n01")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in `tmp_path`, in a thread: starting a process takes longer than the rest."""
    monkeypatch.chdir(tmp_path)
    with executors_from(ThreadPoolExecutor):
        yield


@pytest.fixture
def corpus(tmp_path):
    """Three good clips in SAVEE's layout, below a name with a space and an accent."""
    root = tmp_path / "corpus é"
    for clip_id in GOOD:
        speaker, name = clip_id.split("_")
        make_video(root / f"AudioVisualClip/{speaker}/{name}.avi", sound=None)
        make_sound(root / f"AudioData/{speaker}/{name}.wav", 0.41)
    return root


def write_params(root, modalities="auto", bad=0.9, system="av_faster_rcnn", require="both"):
    Path("params.yaml").write_text(
        f"system: {system}\ncorpus: {{name: savee, root: {root}, modalities: {modalities}, "
        f"require: {require}, emotions: auto, label_source: acted}}\n"
        "extract: {frame_step: 2, jpeg_quality: 2, min_duration_s: 0.1, silence_dbfs: -70, "
        "max_duration_s: 2.5, max_side_px: 4096, "
        f"max_bad_fraction: {bad}}}\n",
        encoding="utf-8",
    )


def extract(tmp_path, name="data"):
    out = tmp_path / name
    main(
        out / "clips.csv", out / "quarantine.csv", out / "voc/JPEGImages", out / "audio",
        out / "truth",
    )  # fmt: skip
    return out


def quarantine(out):
    with (out / "quarantine.csv").open(newline="", encoding="utf-8") as stream:
        return {row["clip_id"]: row["reason"] for row in csv.DictReader(stream)}


def products(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_bad_recordings_are_quarantined_and_the_others_survive(corpus, tmp_path, caplog, capsys):
    (corpus / "truth").mkdir()
    (corpus / "truth/DC_a01.csv").write_text("frame\n0\n")
    avi, wav = corpus / "AudioVisualClip/KL", corpus / "AudioData/KL"
    wav.mkdir()
    (wav / "a01.wav").touch()
    cut(make_video(avi / "a02.avi"), 0.6)
    make_video(avi / "a03.avi", sound=None)
    make_video(avi / "a09.mp4", sound="anullsrc")
    make_sound(wav / "a04.wav")
    make_sound(wav / "a05.wav", level=0)
    make_sound(wav / "a06.wav", 0.05)
    make_video(avi / "a10.avi", seconds=3, sound=None)
    make_sound(wav / "a10.wav")
    make_sound(wav / "s01.wav")
    make_sound(wav / "a07.wav")
    make_sound(wav / "a7.wav")
    (wav / "a08.txt").write_text("x")
    (wav / os.fsdecode(b"Zo\xeb.wav")).write_text("x")  # no UTF-8
    write_params(corpus)
    with caplog.at_level(logging.WARNING):
        out = extract(tmp_path)
    expected = {
        "KL_a01": "got 0 bytes",
        "KL_a02": "cut short",
        "KL_a03": "no track of sound, but other clips have it",
        "KL_a09": "its sound is digital silence, but other clips have it",
        "KL_a04": "no video, but other clips have it; add the video or set "
        "corpus.require: any, or corpus.modalities: audio",
        "KL_a05": "digital silence",
        "KL_a06": "lasts 0.050 s",
        "KL_a10": "lasts 3.0 s, expected at most 2.5; cut it into utterances",
        "KL_a07": "two files for clip id KL_a07",
        "KL_a08": "got the extension .txt",
        "AudioData_KL_s01": "unknown file name",
        "AudioData_KL_Zo-bfec8f": r"AudioData/KL/Zo\udceb.wav: unknown file name",
    }
    found = quarantine(out)
    assert found.keys() == expected.keys()
    for clip_id, reason in expected.items():
        assert reason in found[clip_id] and "\n" not in found[clip_id]
    records = read_clips(out / "clips.csv")
    assert tuple(record.clip_id for record in records) == GOOD
    assert {p.name for p in (out / "voc/JPEGImages").iterdir()} == {
        f"{clip_id}_{index:05d}.jpg" for clip_id in GOOD for index in range(5)
    }
    assert {p.name for p in (out / "audio").iterdir()} == {f"{i}.wav" for i in GOOD}
    assert [p.name for p in (out / "truth").iterdir()] == ["DC_a01.csv"]
    assert "and 7 more quarantined, see quarantine.csv" in caplog.text
    assert capsys.readouterr().out.startswith(
        "extract: 3 clips, 15 frames, 0.0 min, 12 quarantined"
    )


def test_one_clip_more_costs_one_clip_and_equals_a_clean_run(corpus, tmp_path, monkeypatch, capsys):
    write_params(corpus)
    extract(tmp_path)
    make_video(corpus / "AudioVisualClip/DC/su3.avi")
    out = extract(tmp_path)
    assert "extract: 4 clips" in (printed := capsys.readouterr().out) and "3 from cache" in printed
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "other"))
    assert products(extract(tmp_path, "clean")) == products(out)


def test_too_many_bad_clips_fail_and_leave_the_quarantine(corpus, tmp_path):
    (corpus / "AudioData/DC/a02.wav").touch()
    write_params(corpus, bad=0.2)
    with pytest.raises(CorpusError, match=r"1 of 4 clips quarantined, expected at most .* 0.2"):
        extract(tmp_path)
    assert quarantine(tmp_path / "data").keys() == {"DC_a02"}
    write_params(corpus, bad=0.25)
    extract(tmp_path)


def test_no_clip_left_is_an_error_whatever_the_share(tmp_path):
    make_sound(tmp_path / "corpus/DC_a01.wav", level=0)
    write_params(tmp_path / "corpus", bad=1)
    with pytest.raises(CorpusError, match="1 of 1 clip quarantined"):
        extract(tmp_path)


@pytest.mark.parametrize(
    ("modalities", "video", "audio"), [("audio", False, True), ("video", True, False)]
)
def test_explicit_modalities_leave_the_other_alone(corpus, tmp_path, modalities, video, audio):
    make_sound(corpus / "AudioData/DC/a02.wav") if audio else make_video(
        corpus / "AudioVisualClip/DC/a02.avi", sound=None
    )
    system = "audio_cnn" if audio else "visual_cnn"
    write_params(corpus, modalities, bad=0, system=system)
    records = read_clips(extract(tmp_path) / "clips.csv")
    assert len(records) == 4
    assert {(r.has_video, r.has_audio) for r in records} == {(video, audio)}


def test_av_demands_both(corpus, tmp_path):
    for path in corpus.rglob("*.wav"):
        path.unlink()
    write_params(corpus, "av")
    with pytest.raises(CorpusError, match="3 of 3"):
        extract(tmp_path)
    assert "corpus.modalities is av" in quarantine(tmp_path / "data")["DC_a01"]
    write_params(corpus, "auto", bad=0)
    with pytest.raises(CorpusError, match="system av_faster_rcnn needs sound"):
        extract(tmp_path)
    assert not (tmp_path / "data/voc").exists()  # before any later work
    write_params(corpus, "auto", bad=0, system="visual_faster_rcnn")
    assert not any(r.has_audio for r in read_clips(extract(tmp_path) / "clips.csv"))


def test_picture_and_sound_of_unlike_lengths_are_told_of(corpus, tmp_path, caplog):
    make_sound(corpus / "AudioData/DC/a01.wav", 0.9)
    make_video(corpus / "AudioVisualClip/DC/d01.avi", 1.2, sound=None)
    make_sound(corpus / "AudioData/DC/d01.wav", 1.4)  # 14%
    write_params(corpus)
    with caplog.at_level(logging.WARNING):
        extract(tmp_path)
    said = "picture and sound of 1 clip differ in length: DC_a01 (0.40 and 0.90 s); both are used"
    assert said in caplog.text


def test_clips_that_lack_a_modality_stay_where_any_will_do(corpus, tmp_path, caplog):
    make_video(corpus / "AudioVisualClip/KL/a02.avi", sound=None)
    make_sound(corpus / "AudioData/KL/a04.wav")
    write_params(corpus, bad=0, require="any")
    with caplog.at_level(logging.WARNING):
        records = read_clips(extract(tmp_path) / "clips.csv")
    has = {r.clip_id: (r.has_video, r.has_audio) for r in records}
    assert has == {
        **dict.fromkeys(GOOD, (True, True)),
        "KL_a02": (True, False),
        "KL_a04": (False, True),
    }
    assert "no video in 1 of 5 clips: KL_a04;" in caplog.text
    write_params(corpus, "audio", bad=0, require="any", system="audio_cnn")
    with pytest.raises(CorpusError, match="1 of 5 clips quarantined"):
        extract(tmp_path)
    assert "no track of sound" in quarantine(tmp_path / "data")["KL_a02"]
