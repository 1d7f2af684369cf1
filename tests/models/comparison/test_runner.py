import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn_clips import draw_store
from drawn_faces import TINY, write_voc
from safetensors.torch import load_file

from models.audio.params import EmbedParams
from models.comparison import boxes as box_study
from models.comparison.runner import Setup, detector_paths, folds_of, resolve, run_trials
from models.comparison.tables import ablation_table, system_table
from models.comparison.trials import ProtocolStore, Trial, TrialTask, run_trial
from models.expressions.params import FacesParams
from models.faces.folds import Detected, detect
from models.faces.task import DetectorCost, DetectorTask
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines.params import BaselineParams
from models.systems.evaluate import run_folds
from models.systems.inputs import Store
from models.systems.params import CompactParams, Settings, TrainingParams
from models.training import describe, measured_effort
from pipeline.errors import CorpusError, ParamsError
from pipeline.presets import preset_values
from pipeline.report.comparison.rows import Missing, SystemRow, VariantRow
from pipeline.report.comparison.scoring import box_rows, study_rows, system_rows
from pipeline.report.comparison.seeds import FACTS, SUM, read_seeds
from pipeline.report.comparison.studies import LOSS_GRID, STUDIES, STUDY_KEYS
from pipeline.report.comparison.tables import systems_text
from pipeline.scores.predictions import read_predictions
from pipeline.splits import InnerFoldParams, SplitParams
from pipeline.work.executors import executors_from

EMOTIONS = {f"c{i}": ("anger", "happiness")[i % 2] for i in range(8)}
AUDIO, OURS = "audio_wavegram_logmel", "av_faster_rcnn"
SHARED = {"dropout": 0.1, "epochs": 1, "lr": 0.01, "weight_decay": 0.0}
SETTINGS = Settings(
    TrainingParams(seed=0, batch_size=4, threads=1),
    AudioParams(
            embeddings=("Wavegram_Logmel_Cnn14",), handcrafted=False, hidden=(4, 4),
            encoders=("whisper_tiny_en",), l2=1e-4, train="head", tune_epochs=1,
            tune_lr=1e-4, tune_batch=2, **SHARED),
    VisualParams(speech_weighting=False, speech_floor=0.0, hidden=4, **SHARED),
    FusionParams(
        head="residual", pool=False, joint=False, hidden=4, warmup_epochs=1, joint_epochs=1,
        joint_frames=1, joint_lr=0.01, modality_dropout=0.0, **SHARED,
    ),
    LossParams(alpha=1.0, beta=1.0),
    BaselineParams(
        weights="untrained", trunk="trained", image_net="resnet18", video_net="c3d", frames=1,
        frame_px=33, face_px=33, windows=1, snippets=2, snippet_px=32, segments=2,
        segment_frames=16, hidden=4, dropout=0.1, polarity_penalty=0.5, pictures=1, joint_epochs=1,
        batch=4, lr=0.001, weight_decay=0.0,
    ),
    InnerFoldParams(count=2, seed=0),
    FacesParams(embeddings=("fer_mini_xception",), margin=0.1),
    CompactParams.model_validate(preset_values("demo")["compact"]),
    EmbedParams.model_validate(preset_values("demo")["embed"]),
)  # fmt: skip
PLAIN = replace(SETTINGS, inner_folds=InnerFoldParams(count=0, seed=0))
SPLIT = SplitParams(
    protocol="paper",
    test_per_emotion=1,
    speaker_groups=0,
    text_groups=2,
    folds_csv=Path("folds.csv"),
    seed=0,
)


def make_setup(folder, sound_only=False):
    faces = {clip_id: set(range(5)) for clip_id in EMOTIONS}
    store = draw_store(folder / "data", EMOTIONS, faces, dict.fromkeys(EMOTIONS, 0.2))
    if sound_only:
        store = replace(
            store, records=tuple(replace(r, frames=0, times_s=()) for r in store.records)
        )
    return Setup(store, SETTINGS, SPLIT, TINY, "demo", "untrained", folder / "results" / "tables")


@pytest.fixture(autouse=True)
def in_process(monkeypatch, tmp_path):
    """The clip cache below `tmp_path`, without worker processes."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    with executors_from(ThreadPoolExecutor):
        yield
    torch.set_num_threads(threads)


class Counting(ThreadPoolExecutor):
    """Keeps the payloads of what is really worked on."""

    def __init__(self, workers, done):
        super().__init__(workers)
        self.done = done

    def submit(self, do, orders, work):
        self.done.extend(order.payload for order in orders)
        return super().submit(do, orders, work)


@pytest.fixture
def worked_on(in_process):
    """Payloads of the tasks that were not in the cache."""
    done = []
    with executors_from(lambda workers: Counting(workers, done)):
        yield done


def trials_in(payloads):
    return [(task.system, task.settings.training.seed) for task in payloads]


def test_trials_are_trained_once_whatever_asks_for_them(tmp_path, worked_on):
    setup = make_setup(tmp_path)
    first = Trial(AUDIO, "paper", 0)
    same = Trial(AUDIO, "paper", 0, (("loss.alpha", 1.0),))
    other = Trial(AUDIO, "paper", 1)
    finished = run_trials(setup, [first, same, other], "tables")
    assert trials_in(worked_on) == [(AUDIO, 0), (AUDIO, 1)]
    assert finished.folders[first] == finished.folders[same] != finished.folders[other]
    run_trials(setup, [first, Trial(AUDIO, "paper", 0, (("audio.epochs", 2),))], "tables")
    assert trials_in(worked_on[2:]) == [(AUDIO, 0)]
    seeds = read_seeds({0: finished.folders[first], 1: finished.folders[other]})
    assert len(seeds.main) == 4 and seeds.trained == seeds.total > 0
    facts = json.loads((finished.folders[first] / FACTS).read_text())
    assert facts["weights"]["audio"] > 0 and facts["infer_ms"] > 0
    assert set(seeds.weights) == {"audio"} and seeds.network * 2 % 1 == 0


def test_a_changed_product_is_trained_anew(tmp_path, worked_on):
    setup = make_setup(tmp_path)
    run_trials(setup, [Trial(AUDIO, "paper", 0)], "tables")
    (setup.store.data / "voc" / "unread.txt").write_text("this system does not read frames")
    run_trials(setup, [Trial(AUDIO, "paper", 0)], "tables")
    assert len(worked_on) == 1
    shutil.copy(
        setup.store.embeddings / "c0.safetensors", setup.store.embeddings / "c1.safetensors"
    )
    run_trials(setup, [Trial(AUDIO, "paper", 0)], "tables")
    assert len(worked_on) == 2


def test_what_the_corpus_cannot_serve_is_refused_before_any_work(tmp_path, worked_on):
    setup = make_setup(tmp_path, sound_only=True)
    rows = system_table(setup, ["visual_cnn", AUDIO, OURS], ["paper"], [0, 1])
    assert [row.system for row in rows] == [AUDIO, "visual_cnn", OURS]
    assert [type(row) for row in rows] == [SystemRow, Missing, Missing]
    assert "system visual_cnn needs video" in rows[1].absent
    assert rows[0].clips == 2 and rows[0].accuracy.sd is not None
    worked_on.clear()
    with pytest.raises(CorpusError, match="system visual_cnn needs video"):
        system_table(setup, ["visual_cnn"], ["paper"], [0])
    with pytest.raises(ParamsError, match="system: got 'audio_cmn', expected one of audio_cnn"):
        system_table(setup, ["audio_cmn"], ["paper"], [0])
    with pytest.raises(ParamsError, match="protocol: got 'lso', expected one of paper, loso"):
        system_table(setup, [AUDIO], ["lso"], [0])
    shutil.rmtree(setup.store.embeddings)
    with pytest.raises(CorpusError, match=r"embeddings: missing; run `dvc repro`"):
        system_table(setup, [AUDIO], ["paper"], [0])
    assert worked_on == []


def test_a_trial_without_a_fold_that_it_can_read_says_so(tmp_path):
    setup = make_setup(tmp_path)
    (fold,) = folds_of(setup, "paper", 0)
    store = ProtocolStore(setup.store.records, setup.store.data, tmp_path, tmp_path, {})
    task = TrialTask(AUDIO, store, (fold,), fold.train, SETTINGS)
    with pytest.raises(CorpusError, match="no fold has some to train on and some to test"):
        run_trial(task, tmp_path)


def test_a_network_that_was_not_embedded_leaves_its_row_out(tmp_path):
    rows = system_table(make_setup(tmp_path), ["audio_cnn", AUDIO], ["paper"], [0])
    assert "lacks Cnn14; add it to embed.networks" in rows[1].absent


def test_ablations_of_a_corpus_without_video(tmp_path):
    rows = ablation_table(make_setup(tmp_path, sound_only=True), "paper", [0], STUDY_KEYS)
    assert [row.variant for row in rows if isinstance(row, VariantRow)] == ["both"]
    assert {row.study for row in rows} == {"boxes", *(study.key for study in STUDIES)}


def test_a_trial_has_its_seed_everywhere_and_its_overrides(tmp_path):
    setup = make_setup(tmp_path)
    overrides = (("loss.alpha", 0.5), ("detector.closer_px", 7))
    changed = resolve(setup, Trial(OURS, "loso", 3, overrides))
    loss, detector = changed.settings.loss, changed.detector
    assert (loss.alpha, loss.beta, detector.closer_px) == (0.5, 1.0, 7)
    seeded = (changed.split, changed.settings.inner_folds, detector, changed.settings.training)
    assert [section.seed for section in seeded] == [3] * 4
    assert changed.split.protocol == "loso"
    with pytest.raises(ParamsError, match=r"loss\.alhpa: unknown key"):
        resolve(setup, Trial(OURS, "paper", 0, (("loss.alhpa", 0.5),)))


def test_seeds_with_other_test_clips_make_one_table(tmp_path):
    """Each seed tests the clips that its own split draws; the systems of a seed share them."""
    setup = make_setup(tmp_path)
    drawn = [folds_of(setup, "paper", seed)[0].test for seed in (0, 1)]
    assert drawn[0] != drawn[1]
    trials = {seed: Trial("av_cnn", "paper", seed) for seed in (0, 1)}
    finished = run_trials(setup, trials.values(), "tables")
    seeds = read_seeds({seed: finished.folders[trial] for seed, trial in trials.items()})
    assert seeds.main.clip_id == drawn[0] + drawn[1]
    rows = system_table(setup, [AUDIO, "av_cnn"], ["paper"], [0, 1])
    assert [row.clips for row in rows] == [2, 2]
    right = seeds.main.correct
    assert rows[1].accuracy.value == right.mean() == (right[:2].mean() + right[2:].mean()) / 2


def test_the_sum_of_the_branches_is_kept_beside_the_answer(tmp_path):
    setup = make_setup(tmp_path)
    trial = Trial("av_cnn", "paper", 0)
    folder = run_trials(setup, [trial], "tables").folders[trial]
    (fold,) = folds_of(setup, "paper", 0)
    p = run_folds("av_cnn", setup.store, [fold], SETTINGS)[0].as_trained
    product = p["audio"] * p["visual"]
    found = read_predictions(folder / SUM)["av"]
    expected = product / product.sum(axis=1, keepdims=True)
    assert found.probabilities == pytest.approx(expected, abs=1e-5)


def test_what_the_network_says_itself_is_kept_beside_its_calibration(tmp_path):
    setup = make_setup(tmp_path)
    (fold,) = folds_of(setup, "paper", 0)
    scaled, plain = (run_folds(AUDIO, setup.store, [fold], s)[0] for s in (SETTINGS, PLAIN))
    assert plain.pools == {}
    for said in (plain.probabilities, plain.as_trained, scaled.as_trained):
        assert (said["audio"] == plain.as_trained["audio"]).all()
    assert (scaled.probabilities["audio"] != scaled.as_trained["audio"]).any()
    (variant, *_) = next(study for study in STUDIES if study.key == LOSS_GRID).variants
    trial = Trial(variant.system, "paper", 0, variant.overrides)
    assert resolve(setup, trial).settings.inner_folds.count == 0


COST = DetectorCost(10**6, 2 * 10**6, steps=500, train_s=70.0, infer_s=8.0, frames=16)


@pytest.fixture
def costly(monkeypatch):
    """What `detect` is called with; it says that its detectors have known costs."""
    calls = []

    def known(paths, records, folds, inner, params):
        calls.append((paths, params, [fold.name for fold in (*folds, *inner)]))
        found = detect(paths, records, folds, inner, params)
        return Detected(found.metrics, dict.fromkeys(found.costs, COST))

    monkeypatch.setattr("models.comparison.runner.detect", known)
    return calls


def filmed_setup(folder, settings=PLAIN):
    """Six clips with drawn faces and no sound."""
    records = write_voc(folder / "data", clips=6)
    (folder / "data" / "speech.csv").write_text(
        "clip_id,frame,speech\n"
        + "".join(f"{r.clip_id},{i},0.5\n" for r in records for i in range(r.frames))
    )
    store = Store(tuple(records), folder / "data", folder / "none")
    return Setup(store, settings, SPLIT, TINY, "demo", "untrained", folder / "out")


def test_expressions_are_of_the_faces_that_the_protocols_detectors_found(tmp_path, costly):
    setup = filmed_setup(tmp_path, PLAIN)
    trial = Trial("visual_expression", "paper", 0)
    wider = replace(trial, overrides=(("faces.margin", 0.5),))
    finished = run_trials(setup, [trial, wider], "tables")
    assert finished.folders[trial] != finished.folders[wider]
    found = detector_paths(setup, "paper", 0).face_features.with_name("face_embeddings")
    keys = load_file(found / "paper.safetensors").keys()
    assert keys == {f"{r.clip_id}/fer_mini_xception" for r in setup.store.records}


def test_rows_over_faces_count_their_detectors(tmp_path, costly):
    """One of the fold and two of inner folds: three trainings, one network, two frames a clip."""
    setup = filmed_setup(tmp_path, SETTINGS)
    trial = Trial("visual_faster_rcnn", "paper", 0)
    finished = run_trials(setup, [trial], "tables")
    facts = json.loads((finished.folders[trial] / FACTS).read_text())
    (fold,) = folds_of(setup, "paper", 0)
    setup.store.faces.symlink_to(detector_paths(setup, "paper", 0).face_features)
    with measured_effort() as effort:
        outcome = run_folds(trial.system, setup.store, [fold], SETTINGS)[0]
    head = describe(outcome.network)
    assert (facts["trained"], facts["total"]) == (
        head.trained + 10**6,
        head.total + 2 * 10**6,
    )
    assert effort.steps == 3 == facts["steps"] - 3 * 500
    assert facts["train_s"] > 3 * 70
    frames = min(setup.store.records[0].frames, TINY.frames_per_clip)
    assert facts["infer_ms"] > 1000 * 8 / 16 * frames


def test_a_row_says_what_the_stages_would_warn_of(tmp_path):
    """A detector of one epoch has failed."""
    setup = filmed_setup(tmp_path)
    trial = Trial("visual_faster_rcnn", "paper", 0)
    seeds = read_seeds({0: run_trials(setup, [trial], "tables").folders[trial]})
    (row,) = system_rows(setup.setting("paper"), {trial.system: seeds}, {}, {trial.system: ()})
    (said,) = row.warnings
    assert said.startswith("seed 0: the face detector failed in fold paper (mean IoU")
    assert f"- {trial.system}, {said}" in systems_text([row], [])


def test_detectors_follow_seed_and_overrides(tmp_path, costly):
    setup = filmed_setup(tmp_path)
    study = next(study for study in STUDIES if study.key == "closer")
    variants = [v for v in study.variants if v.system == "visual_faster_rcnn"]
    trials = {
        v.name: {s: Trial(v.system, "paper", s, v.overrides) for s in (0, 1)} for v in variants
    }
    finished = run_trials(setup, [t for own in trials.values() for t in own.values()], "tables")
    assert [(params.seed, params.closer_px) for _, params, _ in costly] == [
        (0, 0), (1, 0), (0, 64), (1, 64),
    ]  # fmt: skip
    assert len({paths for paths, *_ in costly}) == 4
    assert all(names == ["paper"] for *_, names in costly)
    seeds = {
        name: read_seeds({seed: finished.folders[trial] for seed, trial in own.items()})
        for name, own in trials.items()
    }
    rows = study_rows(setup.setting("paper"), study, seeds, {})
    assert [row.gain is not None for row in rows if isinstance(row, VariantRow)] == [False, True]


def test_a_trial_without_sound_and_faces_repeats_itself(tmp_path, costly):
    """The detector of the protocol is trained here, by the cache of the stage `detect`."""
    setup = filmed_setup(tmp_path)
    first = run_trials(setup, [Trial("visual_faster_rcnn", "paper", 0)], "tables")
    (folder,) = first.folders.values()
    before = (folder / "predictions.csv").read_bytes()
    shutil.rmtree(folder)
    run_trials(setup, [Trial("visual_faster_rcnn", "paper", 0)], "tables")
    assert (folder / "predictions.csv").read_bytes() == before
    assert not (tmp_path / "none").exists()


def test_each_box_loss_is_trained_once_and_scored_twice(tmp_path, worked_on):
    records = write_voc(tmp_path / "data", clips=6)
    for record in records:
        (tmp_path / "data" / "truth").mkdir(exist_ok=True)
        rows = "".join(f"{i},10,10,90,90,0\n" for i in range(record.frames))
        truth = tmp_path / "data" / "truth" / f"{record.clip_id}.csv"
        truth.write_text("frame,x1,y1,x2,y2,speech\n" + rows)
    store = Store(tuple(records), tmp_path / "data", tmp_path / "none")
    detector = TINY.model_copy(update={"score_threshold": 0.0})
    setup = Setup(store, PLAIN, SPLIT, detector, "demo", "untrained", tmp_path / "out")
    found = box_study.box_study(setup, "paper", [0])
    trained = [task.params.box_loss for task in worked_on if isinstance(task, DetectorTask)]
    assert trained == ["smooth_l1", "kl"]
    done = len(worked_on)
    assert [one.name for one in found] == [
        "smooth L1, NMS alone",
        "smooth L1, variance voting",
        "KL, NMS alone",
        "KL, variance voting",
    ]
    rows = box_rows(setup.setting("paper"), found, {r.clip_id: r.speaker for r in records})
    iou = [row.truth_mean_iou.value for row in rows]
    assert iou[0] == found[0].seeds[0]["truth"]["mean_iou"] != iou[1]
    assert rows[3].gain.value == pytest.approx(iou[3] - iou[0], abs=2e-4)
    box_study.box_study(setup, "paper", [0])
    assert len(worked_on) == done


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
import test_runner as tests

class Stuck(tests.ThreadPoolExecutor):
    def submit(self, do, orders, work):
        return super().submit(self.work, do, orders, work)

    def work(self, do, orders, work):
        if orders[0].payload.settings.training.seed == 1:
            (tests.Path({folder!r}) / "second").touch()
            time.sleep(60)
        return do(orders, work)

trials = [tests.Trial(tests.AUDIO, "paper", seed) for seed in (0, 1, 2)]
with tests.executors_from(Stuck):
    tests.run_trials(tests.make_setup(tests.Path({folder!r})), trials, "tables")
"""


def test_a_killed_table_goes_on_where_it_stopped(tmp_path, worked_on):
    paths = [str(Path(__file__).parent), *sys.path]
    script = KILLED.format(paths=paths, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], env=os.environ)
    deadline = time.monotonic() + 60
    while not (tmp_path / "second").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    shutil.rmtree(tmp_path / "data")
    trials = [Trial(AUDIO, "paper", seed) for seed in (0, 1, 2)]
    finished = run_trials(make_setup(tmp_path), trials, "tables")
    assert sorted(trials_in(worked_on)) == [(AUDIO, 1), (AUDIO, 2)]
    assert len(finished.folders) == 3


def test_a_collapsed_pool_leaves_the_answer_to_the_network(tmp_path, monkeypatch):
    setup = make_setup(tmp_path)
    (fold,) = folds_of(setup, "paper", 0)
    pool = replace(SETTINGS, fusion=SETTINGS.fusion.model_copy(update={"pool": True}))
    plain = run_folds("av_cnn", setup.store, [fold], SETTINGS)[0]
    fits = iter([{"av": 0.0, "audio": 1.0, "visual": 0.0}, None])
    monkeypatch.setattr("models.systems.evaluate.fit_pool", lambda *_: next(fits))
    pooled, collapsed = (run_folds("av_cnn", setup.store, [fold], pool)[0] for _ in range(2))
    assert (pooled.probabilities["av"] == plain.as_trained["audio"]).all()
    assert collapsed.collapsed and not pooled.collapsed and not plain.collapsed
    assert collapsed.pools == plain.pools
    assert (collapsed.probabilities["av"] == plain.probabilities["av"]).all()
