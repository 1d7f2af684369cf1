import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from drawn_faces import TINY, write_voc
from safetensors.torch import load_file

from models.faces import frames as frames_module
from models.faces import train as train_module
from models.faces.folds import DetectPaths, detect, make_tasks
from models.faces.frames import training_batches
from models.faces.params import DetectorParams
from models.faces.scores import frame_by_frame
from models.faces.task import train_and_detect
from models.faces.train import detect_frames, train_detector
from models.faces.weights import load_detector
from models.resumption import Checkpoint
from pipeline.errors import ParamsError, TrainingError, WeightsError
from pipeline.params import PARAMS_FILE, validate
from pipeline.splits import Fold
from pipeline.work.executors import executors_from
from pipeline.work.scratch import scratch_at

FOLD = Fold("paper", ("S0_c00", "S0_c01", "S1_c02"), ("S1_c03",))


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("AVEMO_WORKERS", "1")


@pytest.fixture
def in_process(monkeypatch, tmp_path):
    """The clip cache below `tmp_path`, without worker processes."""
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    with executors_from(ThreadPoolExecutor):
        yield


def _paths(root):
    (root / "truth").mkdir(exist_ok=True)
    return DetectPaths(root / "voc", root / "truth", root / "results", root / "features")


def _rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_joined_detections_part_again_as_by_a_mask():
    for found in ([1, 1, 1, 3], [], [0, 0, 4]):
        joined = {
            "frame": torch.tensor(found, dtype=torch.int64),
            "boxes": torch.rand(len(found), 4),
        }
        parted = list(frame_by_frame(joined, 5))
        assert len(parted) == 5
        for position, faces in enumerate(parted):
            of_frame = joined["frame"] == position
            assert all(torch.equal(faces[name], joined[name][of_frame]) for name in joined)


def test_detect_writes_features_detections_and_scores(tmp_path, in_process):
    records = write_voc(tmp_path)
    paths = _paths(tmp_path)
    rows = "frame,x1,y1,x2,y2,speech\n0,10,10,90,90,1\n2,10,10,90,90,0\n"
    (paths.truth / "S1_c03.csv").write_text(rows)
    eager = TINY.model_copy(update={"score_threshold": 0.0})
    metrics = detect(paths, records, [FOLD], (), eager).metrics
    written = json.loads((paths.results / "metrics.json").read_text())
    assert written["truth"] == pytest.approx(metrics["truth"], abs=1e-5)
    assert (metrics["frames"], metrics["frames_without_detection"]) == (2, 0)
    features = load_file(paths.face_features / "paper.safetensors")
    assert features["S1_c03/features"].shape == (2, 256)
    assert features["S1_c03/probs"].sum(dim=1).tolist() == pytest.approx([1, 1])
    assert features["S1_c03/frames"].tolist() == [0, 2]
    rows = _rows(paths.results / "detections.csv")
    assert {row["split"] for row in rows if row["clip_id"] == "S1_c03"} == {"test"}
    best = next(row for row in rows if row["clip_id"] == "S1_c03")
    assert float(best["x1"]) == pytest.approx(features["S1_c03/boxes"][0, 0].item(), abs=0.01)
    assert best["truth_x2"] == "90.00" and best["dlib_x1"]
    assert _rows(paths.results / "history.csv")[0]["box"]
    load_detector(paths.results / "paper.safetensors")


def test_detect_warns_of_a_detector_that_failed(tmp_path, in_process, monkeypatch, caplog):
    records = write_voc(tmp_path)
    paths = _paths(tmp_path)
    monkeypatch.setattr("models.faces.scores.FAILED_IOU", 1.01)
    inner = Fold("paper.inner0", FOLD.train[:2], FOLD.train[2:])
    detect(paths, records, [FOLD], [inner], TINY)
    written = json.loads((paths.results / "metrics.json").read_text())
    for name in ("paper", "paper.inner0"):
        assert f"fold {name} (mean IoU with dlib's boxes is" in written["warning"]
    assert written["warning"] in caplog.text


def test_detect_resumes_by_fold(tmp_path, in_process):
    records = write_voc(tmp_path)
    paths = _paths(tmp_path)
    detect(paths, records, [FOLD], (), TINY)
    before = (paths.results / "detections.csv").read_bytes()

    def refuse(workers):
        raise AssertionError(f"work for {workers} workers")

    with executors_from(refuse):
        detect(paths, records, [FOLD], (), TINY)
        assert (paths.results / "detections.csv").read_bytes() == before
        other = Fold("other", FOLD.train[:2], FOLD.test)
        with pytest.raises(AssertionError, match="work for 1 workers"):
            detect(paths, records, [FOLD, other], (), TINY)


def test_a_detector_of_an_inner_fold_knows_its_own_clips_alone(tmp_path, in_process):
    records = write_voc(tmp_path)
    paths = _paths(tmp_path)
    inner = Fold("paper.inner0", FOLD.train[:2], FOLD.train[2:])
    detect(paths, records, [FOLD], [inner], TINY)
    features = load_file(paths.face_features / "paper.inner0.safetensors")
    assert {name.partition("/")[0] for name in features} == set(FOLD.train)
    load_detector(paths.results / "paper.inner0.safetensors")
    for table in ("detections.csv", "history.csv"):
        assert {row["fold"] for row in _rows(paths.results / table)} <= {"paper"}


def test_detect_without_video_writes_empty_outputs_that_say_so(tmp_path, in_process):
    paths = _paths(tmp_path)
    metrics = detect(paths, [], [FOLD], (), TINY).metrics
    assert metrics["note"] == "none of the 0 clips has video"
    assert _rows(paths.results / "detections.csv") == []
    assert list(paths.face_features.glob("*.safetensors")) == []


def test_a_detector_never_sees_a_test_clip(tmp_path):
    records = write_voc(tmp_path)
    task = make_tasks(tmp_path / "voc", records, [FOLD], TINY)["paper"]
    assert {frame.clip_id for frame in task.train} == set(FOLD.train)
    assert {frame.clip_id for frame in task.inference} == {record.clip_id for record in records}
    leaking = Fold("paper", FOLD.train, FOLD.train[:1])
    with pytest.raises(TrainingError, match="1 clips train and test, the first is S0_c00"):
        detect(_paths(tmp_path), records, [leaking], (), TINY)


def test_what_is_not_understood_neither_trains_nor_scores(tmp_path, in_process):
    """Were it background, each detection on it would count as wrong."""
    records = write_voc(tmp_path)
    paths = _paths(tmp_path)
    for name in ("S0_c00_00000", "S1_c03_00000", "S1_c03_00002"):
        xml = paths.voc / "Annotations" / f"{name}.xml"
        xml.write_text(xml.read_text().replace("<name>face<", "<name>cat<"))
    task = make_tasks(paths.voc, records, [FOLD], TINY)["paper"]
    assert [(f.clip_id, f.index) for f in task.train[:2]] == [("S0_c00", 2), ("S0_c01", 0)]
    assert len(task.inference) == 8
    metrics = detect(paths, records, [FOLD], (), TINY).metrics
    assert metrics["frames"] == 2 and metrics["ap50"] is metrics["mean_iou"] is None


def test_folds_that_train_alike_share_a_detector(tmp_path, in_process):
    records = write_voc(tmp_path)
    paths = _paths(tmp_path)
    inner = [Fold("a", ("S0_c00", "S0_c01"), ("S1_c02",)), Fold("b", ("S0_c00", "S0_c01"), ())]
    tasks = make_tasks(paths.voc, records, [FOLD, *inner], TINY)
    assert tasks["a"] == tasks["b"] != tasks["paper"]
    done = []

    class Counting(ThreadPoolExecutor):
        def submit(self, do, orders, work):
            done.extend(order.payload for order in orders)
            return super().submit(do, orders, work)

    with executors_from(Counting):
        costs = detect(paths, records, [FOLD], inner, TINY).costs
    assert done == [tasks["paper"], tasks["a"]]
    files = [paths.results / f"{name}.safetensors" for name in ("paper", "a", "b")]
    whole, one, other = (path.read_bytes() for path in files)
    assert one == other != whole
    assert costs["a"] == costs["b"] and costs["paper"].steps > costs["a"].steps > 0
    assert costs["paper"].parameters == costs["paper"].total > 0


def test_frames_are_read_ahead_of_an_accelerator(tmp_path, monkeypatch):
    frames = make_tasks(tmp_path / "voc", write_voc(tmp_path), [FOLD], TINY)["paper"].train
    params = TINY.model_copy(update={"score_threshold": 0.0})
    detector = train_detector(frames, ("anger", "happiness"), params)
    alone = list(detect_frames(detector, frames, 1))
    passes, plain = [], detector.detect
    monkeypatch.setattr(
        detector, "detect", lambda images: passes.append(len(images)) or plain(images)
    )
    for module in (frames_module, train_module):
        monkeypatch.setattr(module, "CPU", torch.device("meta"))  # so that this one is another
    together = list(detect_frames(detector, frames, 1))
    assert passes == [len(frames)] and [one for one, _ in together] == [one for one, _ in alone]
    for (_, found), (_, expected) in zip(together, alone, strict=True):
        torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(found.probs, expected.probs, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(frames_module, "READERS", 2)
    labels = []
    for device in ("cpu", "meta"):
        batches = list(training_batches(frames, 4, TINY, torch.device(device)))
        labels.append([target["labels"].tolist() for _, targets in batches for target in targets])
    assert len(batches[0][0]) == 4 and labels[0] == labels[1]


def test_training_repeats_with_the_seed_and_leaves_the_generator_alone(tmp_path):
    frames = make_tasks(tmp_path / "voc", write_voc(tmp_path), [FOLD], TINY)["paper"].train
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = train_detector(frames, ("anger", "happiness"), TINY).state_dict()
    assert torch.equal(torch.rand(1), expected)
    second = train_detector(frames, ("anger", "happiness"), TINY).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_variances_rest_during_the_warm_up(tmp_path):
    frames = make_tasks(tmp_path / "voc", write_voc(tmp_path), [FOLD], TINY)["paper"].train
    held = TINY.model_copy(update={"kl_warmup_epochs": 1})
    detector = train_detector(frames, ("anger", "happiness"), held)
    assert detector.net.roi_heads.box_predictor.log_var.bias.abs().max() == 0
    moved = train_detector(frames, ("anger", "happiness"), TINY)
    assert moved.net.roi_heads.box_predictor.log_var.bias.abs().max() > 0


def test_a_frame_without_detection_has_zeros_and_score_zero(tmp_path):
    records = write_voc(tmp_path)
    strict = TINY.model_copy(update={"score_threshold": 0.999999})
    train_and_detect(make_tasks(tmp_path / "voc", records, [FOLD], strict)["paper"], tmp_path)
    features = load_file(tmp_path / "features.safetensors")
    assert features["S1_c03/scores"].tolist() == [0, 0]
    assert features["S1_c03/features"].abs().max() == 0


def test_weights_that_have_seen_the_test_clips_are_refused(tmp_path, in_process):
    records = write_voc(tmp_path)
    paths = _paths(tmp_path)
    detect(paths, records, [FOLD], (), TINY)
    weights = tmp_path / "first.safetensors"
    shutil.copy(paths.results / "paper.safetensors", weights)
    own = TINY.model_copy(update={"weights": str(weights)})
    detect(paths, records, [FOLD], (), own)  # of the same fold
    turned = Fold("turned", FOLD.test, FOLD.train)
    with pytest.raises(WeightsError, match=r"was trained on \d+ clips that fold turned tests"):
        detect(paths, records, [turned], (), own)


def test_training_frames_without_any_face_are_refused(tmp_path):
    records = write_voc(tmp_path, clips=1, faceless="S0_c00")
    fold = Fold("paper", ("S0_c00",), ("S1_c03",))
    frames = make_tasks(tmp_path / "voc", records, [fold], TINY)["paper"].train
    with pytest.raises(TrainingError, match="none of the 2 training frames shows a face"):
        train_detector(frames, ("anger",), TINY)


def test_a_detector_that_was_killed_at_any_epoch_goes_on_to_the_same_bytes(tmp_path):
    changes = {"closer_px": 64, "closer_epochs": 2, "epochs": 3, "kl_warmup_epochs": 1}
    params = TINY.model_copy(update=changes)
    task = make_tasks(tmp_path / "voc", write_voc(tmp_path), [FOLD], params)["paper"]
    files = {}
    for kills in (0, 5):
        left = iter(range(kills))

        def saved(checkpoint, training, progress, save=Checkpoint.save, left=left):
            save(checkpoint, training, progress)
            if next(left, None) is not None:
                raise KeyboardInterrupt  # the work has no chance to tidy up

        state, out = tmp_path / f"state{kills}", tmp_path / f"out{kills}"
        out.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoint, "save", saved)
            for _ in range(kills):
                with pytest.raises(KeyboardInterrupt), scratch_at(state):
                    train_and_detect(task, out)
            with scratch_at(state):
                train_and_detect(task, out)
        assert not state.exists()
        files[kills] = {path.name: path.read_bytes() for path in out.iterdir()}
    costs = [json.loads(one.pop("cost.json")) for one in files.values()]
    assert costs[0]["steps"] == costs[1]["steps"] and costs[1]["train_s"] > 0
    assert files[0] == files[5]


@pytest.mark.parametrize("lr", [100, float("inf"), float("nan")])
def test_a_senseless_learning_rate_is_refused_before_training(lr):
    with pytest.raises(ParamsError, match=r"detector\.lr: got (100|inf|nan)"):
        validate("detector", TINY.model_dump() | {"lr": lr}, DetectorParams, PARAMS_FILE)


def test_a_detector_that_diverges_ends_with_epoch_and_batch(tmp_path, in_process):
    params = TINY.model_copy(update={"lr": 10.0, "batch": 1, "epochs": 4})
    with pytest.raises(TrainingError, match=r"paper: epoch 1 of 4, batch \d: the loss diverged"):
        detect(_paths(tmp_path), write_voc(tmp_path), [FOLD], (), params)
    assert not (tmp_path / "results").exists()
