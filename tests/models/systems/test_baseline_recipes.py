import math
from dataclasses import replace
from itertools import groupby

import pytest
import torch
from drawn_clips import draw_store
from torch import nn
from torchvision.models import resnet18
from torchvision.models.video import mc3_18

from models.audio.params import EmbedParams
from models.expressions.params import FacesParams
from models.faces.params import DetectorParams
from models.faces.train import CROPS_PER_FRAME
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines import trunks
from models.systems.baselines.augment import Jitter
from models.systems.baselines.params import BaselineParams
from models.systems.baselines.tzirakis import TzirakisNet
from models.systems.baselines.visual_cnn import FrameNet
from models.systems.evaluate import predict, run_folds, train
from models.systems.inputs import ClipSet
from models.systems.params import CompactParams, Settings, TrainingParams, Widths
from models.systems.registry import build_network, recipe
from models.training import History, describe
from pipeline.presets import preset_values
from pipeline.splits import Fold, InnerFoldParams

EMOTIONS = {f"c{i}": ("anger", "happiness")[i % 2] for i in range(4)}
FOLD = Fold("paper", ("c0", "c1", "c2"), ("c3",))
UNTRAINED = BaselineParams(
    weights="untrained", trunk="trained", image_net="resnet18", video_net="c3d", frames=2,
    frame_px=33, face_px=33, windows=3, snippets=2, snippet_px=32, segments=2, segment_frames=16,
    hidden=8, dropout=0.1, polarity_penalty=0.5, pictures=1, joint_epochs=1, batch=4, lr=0.001,
    weight_decay=0.0,
)  # fmt: skip
PUBLISHED = UNTRAINED.model_copy(update={"weights": "published", "video_net": "mc3_18"})
BRANCHES = {
    "visual_cnn": {"visual"},
    "visual_cnn_fd": {"visual"},
    "av_cnn": {"av", "audio", "visual"},
    "av_cnn_fd": {"av", "audio", "visual"},
    "av_dnn": {"av"},
    "av_vaanet": {"av"},
}


def settings(baselines):
    shared = {"dropout": 0.1, "epochs": 1, "lr": 0.01, "weight_decay": 0.0}
    return Settings(
    TrainingParams(seed=0, batch_size=2, threads=1),
        AudioParams(
            embeddings=("Wavegram_Logmel_Cnn14",), handcrafted=False, hidden=(4, 4),
            encoders=("whisper_tiny_en",), l2=1e-4, train="head", tune_epochs=1,
            tune_lr=1e-4, tune_batch=2, **shared),
        VisualParams(speech_weighting=False, speech_floor=0.0, hidden=4, **shared),
        FusionParams(
            head="residual", pool=False, joint=False, hidden=4, warmup_epochs=1, joint_epochs=1,
            joint_frames=1, joint_lr=0.01, modality_dropout=0.0, **shared,
        ),
        LossParams(alpha=1.0, beta=1.0),
        baselines,
        InnerFoldParams(count=0, seed=0),
        FacesParams(embeddings=("fer_mini_xception",), margin=0.1),
        CompactParams.model_validate(preset_values("demo")["compact"]),
        EmbedParams.model_validate(preset_values("demo")["embed"]),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    faces = {clip_id: set(range(5)) for clip_id in EMOTIONS}
    return draw_store(tmp_path, EMOTIONS, faces, dict.fromkeys(EMOTIONS, 0.3))


@pytest.fixture
def published(monkeypatch):
    """Random weights in place of the published ones; the first layers of both networks."""
    torch.manual_seed(0)
    image, video = resnet18().state_dict(), mc3_18().state_dict()
    states = {"ResNet18_Weights": image, "MC3_18_Weights": video}
    monkeypatch.setattr(trunks, "published_state", lambda weights: states[type(weights).__name__])
    return {"image": image["conv1.weight"], "video": video["stem.0.weight"]}


def run(system, store, baselines):
    built = recipe(system, store, FOLD, settings(baselines))
    clips = ClipSet(FOLD.train, store.labels(), built.readers)
    network = train(clips, built, settings(baselines), History(), FOLD.name)
    return network, predict(network, clips.subset(tuple(EMOTIONS)))


@pytest.mark.parametrize("system", BRANCHES)
def test_a_system_trains_and_scores_and_repeats_itself(system, store):
    network, logits = run(system, store, UNTRAINED)
    assert logits.keys() == BRANCHES[system]
    assert all(v.shape == (4, 2) and v.isfinite().all() for v in logits.values())
    assert describe(network).trained == describe(network).total
    again = run(system, store, UNTRAINED)[1]
    assert all(torch.equal(logits[branch], again[branch]) for branch in logits)


@pytest.fixture
def set_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("system", ["visual_cnn", "av_dnn"])
def test_threads_of_the_process_change_no_result(system, store, set_threads):
    calibrated = replace(settings(UNTRAINED), inner_folds=InnerFoldParams(count=2, seed=0))
    fold = Fold("paper", ("c0", "c1", "c2", "c3"), ("c3",))
    outcomes = []
    for threads in (1, 3):
        set_threads(threads)
        outcomes += run_folds(system, store, [fold], calibrated)
        assert torch.get_num_threads() == threads
    first, second = outcomes
    assert first.pools == second.pools and first.pools
    assert first.history == second.history
    weights = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert all((first.probabilities[b] == second.probabilities[b]).all() for b in BRANCHES[system])


@pytest.mark.parametrize("trunk", ["trained", "frozen"])
@pytest.mark.parametrize("system", ["visual_cnn", "av_cnn_fd", "av_dnn", "av_vaanet"])
def test_a_published_trunk_learns_unless_it_is_frozen(system, trunk, store, published):
    baselines = PUBLISHED.model_copy(update={"trunk": trunk})
    first = published["video" if system == "av_vaanet" else "image"]
    built = recipe(system, store, FOLD, settings(baselines))
    begun = built.build().state_dict()
    assert _holds(begun, first)
    network, logits = run(system, store, baselines)
    assert all(v.isfinite().all() for v in logits.values())
    learned = network.state_dict()
    assert _holds(learned, first) == (trunk == "frozen")
    held = {name for name in begun if ".backbone." in name}
    assert bool(held) == (trunk == "frozen")
    assert all(torch.equal(begun[name], learned[name]) for name in held)
    size = describe(network)
    assert (size.trained < size.total) == (trunk == "frozen") and size.total > 11_000_000
    build_network(system, built.widths, settings(baselines)).load_state_dict(learned)


def _holds(state, tensor):
    return any(v.shape == tensor.shape and torch.equal(v, tensor) for v in state.values())


def test_nothing_random_is_frozen():
    with pytest.raises(ValueError, match=r"trunk must be trained where baselines\.weights is"):
        BaselineParams.model_validate({**UNTRAINED.model_dump(), "trunk": "frozen"})


def test_a_phase_with_pictures_makes_its_steps_of_its_own_batches(store):
    baselines = UNTRAINED.model_copy(
        update={"pictures": 2, "batch": 1, "joint_epochs": 1, "frame_px": 64}
    )
    built = recipe("av_cnn", store, FOLD, settings(baselines))
    seen = []

    def counting(phase):
        def step(part, batch):
            seen.append((phase.name, len(batch["label"])))
            return phase.step(part, batch)

        return replace(phase, step=step)

    phases = tuple(counting(phase) for phase in built.phases)
    clips = ClipSet(FOLD.train, store.labels(), built.readers)
    train(clips, replace(built, phases=phases), settings(baselines), History(), FOLD.name)
    sizes = {name: [size for _, size in rows] for name, rows in groupby(seen, lambda row: row[0])}
    assert sizes == {"audio": [2, 1], "visual": [1] * 6, "warmup": [1] * 3, "joint": [1] * 3}


@pytest.mark.parametrize("system", BRANCHES)
def test_only_face_crops_are_shifted_and_scaled(system):
    network = build_network(system, Widths(2, (6,)), settings(UNTRAINED))
    jitters = [part for part in network.modules() if isinstance(part, Jitter)]
    assert len(jitters) == (system in ("visual_cnn_fd", "av_cnn_fd", "av_dnn"))


@pytest.mark.parametrize("preset", ["demo", "savee", "savee_loso", "ravdess", "cremad", "folder"])
def test_a_preset_shows_picture_networks_as_much_as_the_detector(preset):
    """Pictures of each clip, and so many in a step that steps are about equal."""
    values = preset_values(preset)
    detector = DetectorParams.model_validate(values["detector"])
    baselines = BaselineParams.model_validate(values["baselines"])
    epochs = detector.closer_epochs + detector.epochs
    assert baselines.pictures == epochs * detector.frames_per_clip_train
    clips = 840
    frames = clips * detector.frames_per_clip_train
    taken = detector.epochs * math.ceil(frames / detector.batch)
    taken += detector.closer_epochs * math.ceil(frames / (CROPS_PER_FRAME * detector.batch))
    for per_clip in (1, baselines.snippets):
        steps = baselines.epochs(per_clip) * math.ceil(clips / baselines.batch_clips(per_clip))
        assert steps == pytest.approx(taken, rel=0.07), per_clip


def test_the_demo_shows_faces_of_one_size_to_all_rows():
    demo = preset_values("demo")
    assert demo["baselines"]["face_px"] == demo["detector"]["closer_px"]


def test_a_training_step_of_the_dnn_sees_one_crop_and_a_third_of_the_sound():
    torch.manual_seed(0)
    heard, seen = [], []
    sound, faces = nn.Module(), nn.Module()
    sound.forward = lambda windows: heard.append(windows[:, 0].tolist()) or windows
    faces.forward = lambda crops: seen.append(crops.flatten().tolist()) or crops.flatten(1)
    network = TzirakisNet(sound, faces, 2, 3)
    batch = {"windows": torch.arange(9.0).view(1, 9, 1), "crops": torch.arange(4.0).view(1, 4, 1)}
    for _ in range(30):
        network(batch)
    assert all(found == [found[0] + step for step in range(3)] for found in heard)
    assert {found[0] for found in heard} == set(range(7))
    assert {tuple(found) for found in seen} == {(0,), (1,), (2,), (3,)}
    network.eval()(batch)
    assert heard[-1] == list(range(9)) and seen[-1] == list(range(4))


def test_a_step_of_an_image_cnn_sees_one_picture_of_each_clip():
    torch.manual_seed(0)
    seen = []
    trunk = nn.Module()
    trunk.forward = lambda pictures: seen.append(pictures.shape[0]) or pictures.float().flatten(1)
    network = FrameNet("crops", trunk, nn.Identity(), nn.Linear(1, 2))
    clips = torch.arange(8.0).view(1, 8, 1).repeat(16, 1, 1)
    features, _ = network({"crops": clips})
    assert seen == [16] and len(set(features.flatten().tolist())) > 2
    features, _ = network.eval()({"crops": clips})
    assert seen == [16, 128] and torch.equal(features, torch.full((16, 1), 3.5))
