from dataclasses import replace

import pytest
import torch
from drawn_clips import draw_store
from torchvision.models import resnet18
from torchvision.models.video import mc3_18

from models.comparison.trials import describe
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines import trunks
from models.systems.baselines.params import BaselineParams
from models.systems.evaluate import predict, run_folds, train
from models.systems.inputs import ClipSet
from models.systems.makers import recipe
from models.systems.params import Settings, TrainingParams
from models.training import History
from pipeline.splits import Fold, InnerFoldParams

EMOTIONS = {f"c{i}": ("anger", "happiness")[i % 2] for i in range(4)}
FOLD = Fold("paper", ("c0", "c1", "c2"), ("c3",))
UNTRAINED = BaselineParams(
    weights="untrained", image_net="resnet18", video_net="c3d", frames=2, frame_px=32, face_px=32,
    windows=3, snippets=2, snippet_px=32, segments=2, segment_frames=16, hidden=8, dropout=0.1,
    polarity_penalty=0.5, epochs=1, joint_epochs=1, lr=0.001, weight_decay=0.0,
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
            embeddings=("Wavegram_Logmel_Cnn14",), handcrafted=False, hidden=(4, 4), **shared),
        VisualParams(speech_weighting=False, speech_floor=0.0, hidden=4, **shared),
        FusionParams(
            head="residual", pool=False, joint=False, hidden=4, warmup_epochs=1, joint_epochs=1,
            joint_frames=1, joint_lr=0.01, **shared,
        ),
        LossParams(alpha=1.0, beta=1.0),
        baselines,
        InnerFoldParams(count=0, seed=0),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    faces = {clip_id: set(range(5)) for clip_id in EMOTIONS}
    return draw_store(tmp_path, EMOTIONS, faces, dict.fromkeys(EMOTIONS, 0.3))


@pytest.fixture
def no_download(monkeypatch):
    """Random weights in place of the published ones."""
    torch.manual_seed(0)
    states = {"ResNet18_Weights": resnet18(), "MC3_18_Weights": mc3_18()}
    monkeypatch.setattr(
        trunks, "published_state", lambda weights: states[type(weights).__name__].state_dict()
    )


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


@pytest.mark.parametrize("system", ["visual_cnn", "av_cnn_fd", "av_vaanet"])
def test_published_trunks_are_frozen_and_counted(system, store, no_download):
    network, logits = run(system, store, PUBLISHED)
    assert all(v.isfinite().all() for v in logits.values())
    size = describe(network)
    assert size.trained < size.total and size.total > 11_000_000
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen and all("trunk.backbone" in name for name in frozen)
