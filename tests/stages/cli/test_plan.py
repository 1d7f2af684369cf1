from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_copy import set_params
from ruamel.yaml import YAML

from models.speeds import NetworkSpeeds, Speeds
from pipeline.errors import CorpusError
from stages.cli import plan
from stages.cli.check import read_named
from stages.cli.plan import forecast, makespan, measure_volume
from stages.cli.presets import apply_preset

SPEEDS = Speeds(
    look=0.01,
    features=0.1,
    core=NetworkSpeeds(train=1.0, closer=0.5, detect=0.25, embed=0.1),
    device=NetworkSpeeds(train=0.01, closer=0.01, detect=0.01, embed=0.001),
    detector_bytes=100,
)


@pytest.fixture
def savee(settings):
    """SAVEE's 480 clips by name alone."""
    root = settings / "SAVEE"
    takes = {"a": 15, "d": 15, "f": 15, "h": 15, "sa": 15, "su": 15, "n": 30}
    for speaker in ("DC", "JE", "JK", "KL"):
        for kind, suffix in (("AudioData", "wav"), ("AudioVisualClip", "avi")):
            folder = root / kind / speaker
            folder.mkdir(parents=True)
            for code, count in takes.items():
                for take in range(1, count + 1):
                    (folder / f"{code}{take:02d}.{suffix}").touch()
    return root


def detect_row(cores):
    named = read_named()
    (row,) = (
        row
        for row in forecast(named, measure_volume(named), SPEEDS, cores)
        if row.stage == "detect"
    )
    return row


def test_savee_as_in_the_paper_is_counted_by_hand(settings, savee):
    apply_preset("savee", savee)
    volume = measure_volume(read_named())
    assert not volume.extracted
    assert (len(volume.records), volume.frames) == (480, 480 * 38)
    assert (len(volume.folds[0].train), len(volume.folds[0].test)) == (410, 70)
    row = detect_row(1)
    inner = sum(len(fold.train) for fold in volume.inner)
    passes = (410 + inner) * 8 * 6
    assert f"1 + 3 detectors, {passes} frames" in row.work  # two inner ones, and that of all clips
    assert row.cpu_s == pytest.approx(plan.START_S + passes + 0.25 * 16 * (2 * 480 + 2 * 410))
    found = 16 * (2 * 480 + 2 * 410)
    assert row.gpu_s == pytest.approx(plan.START_S + 0.01 * (passes + found))


def test_cards_share_the_work(settings, savee, monkeypatch):
    apply_preset("savee_loso", savee)
    alone = detect_row(2)
    monkeypatch.setattr(plan, "chosen_devices", lambda: ("cuda:0", "cuda:1"))
    both = detect_row(2)
    assert both.cpu_s == alone.cpu_s
    assert (both.gpu_s - plan.START_S) / (alone.gpu_s - plan.START_S) == pytest.approx(0.5, abs=0.1)


def test_two_folds_share_each_inner_detector(settings, savee):
    apply_preset("savee_loso", savee)
    assert "4 + 5 detectors" in detect_row(2).work
    params = YAML().load(settings / "params.yaml")
    params["split"]["speaker_groups"] = 2
    YAML().dump(params, settings / "params.yaml")
    assert "2 + 5 detectors" in detect_row(2).work


def test_small_networks_over_log_mels_take_their_own_time(settings, savee):
    apply_preset("savee", savee)
    set_params(settings, {"system": "audio_compact", "corpus": {"modalities": "audio"}})
    named = read_named()
    volume = measure_volume(named)
    row = forecast(named, volume, SPEEDS, 1)[-1]
    clips = sum(len(fold.train) for fold in (*volume.folds, *volume.inner))
    assert row.cpu_s == pytest.approx(plan.START_S + plan.LAST_S + 0.008 * 3 * 60 * clips)
    assert "trainings of 60 epochs" in row.work


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=12), st.integers(1, 6))
def test_makespan_lies_between_its_bounds(costs, workers):
    longest = makespan(costs, workers)
    assert longest >= max(*costs, sum(costs) / workers) * (1 - 1e-9)
    assert longest <= sum(costs) / workers + max(costs) * (1 + 1e-9)


def test_the_demo_is_planned_before_it_is_made_and_told_in_a_table(settings, monkeypatch):
    asked = []

    def timed(frame_px, sound_s, sections):
        asked.append((frame_px, sound_s))
        return SPEEDS

    monkeypatch.setattr(plan, "time_speeds", timed)
    told = plan.plan().splitlines()
    assert [line.split()[0] for line in told[1:10]] == [
        "demo", "extract", "resample", "annotate", "embed", "detect", "embed_faces", "fuse",
        "total",
    ]  # fmt: skip
    assert "112 clips, 4 min, 2800 frames" in told[2]
    assert asked == [((320, 256), 2.0)]


def test_a_corpus_without_video_trains_no_detector(settings, savee):
    apply_preset("savee", savee)
    named = read_named()
    named = replace(named, corpus=named.corpus.model_copy(update={"modalities": "audio"}))
    stages = [row.stage for row in forecast(named, measure_volume(named), SPEEDS, 2)]
    assert stages == ["extract", "resample", "annotate", "embed", "fuse on"]


def test_films_whose_sound_is_left_out_are_not_embedded(settings, savee):
    apply_preset("savee", savee)
    set_params(settings, {"system": "visual_faster_rcnn", "corpus": {"modalities": "video"}})
    named = read_named()
    rows = {row.stage: row for row in forecast(named, measure_volume(named), SPEEDS, 2)}
    for stage, work in (("resample", "0 min"), ("embed", "4 x 0 clips")):
        assert (rows[stage].work, rows[stage].cpu_s, rows[stage].stored) == (work, plan.START_S, 0)


def test_a_corpus_that_is_not_there_is_refused(settings, savee):
    apply_preset("savee", savee)
    savee.rename(settings / "elsewhere")
    with pytest.raises(CorpusError, match="no such folder"):
        plan.plan()
