import pytest
import torch
from torch.nn import functional as F

from models.fusion.branches import AudioNet, Standardize, VisualNet, frame_weights, pool_frames
from models.fusion.network import FusionHead
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.losses import emotion_bce, log_scores
from models.systems.inputs import ClipSet
from models.systems.recipe import (
    Widths,
    audio_phase,
    emotion_step,
    fit_statistics,
    fusion_net,
    fusion_phases,
    visual_phase,
)
from models.training import History, fit, weighted_sum

K, CLIPS, FRAMES, D_AUDIO, D_FACE = 3, 4, 5, 12, 6
BLOCKS = {"faces": [D_FACE]}

FUSION = FusionParams(
    head="residual", pool=False, joint=False, hidden=8, dropout=0.0,
    modality_dropout=0.0, warmup_epochs=40, epochs=40,
    lr=0.02, weight_decay=0.0, joint_epochs=1, joint_frames=2, joint_lr=1e-3,
)  # fmt: skip


@pytest.fixture
def clips():
    draw = torch.Generator().manual_seed(0)
    audio = torch.randn(CLIPS, D_AUDIO, generator=draw)
    faces = torch.randn(CLIPS, FRAMES, D_FACE, generator=draw)
    names = [f"c{i}" for i in range(CLIPS)]
    readers = {
        "audio": dict(zip(names, audio, strict=True)).__getitem__,
        "faces": dict(zip(names, faces, strict=True)).__getitem__,
        "weights": {name: torch.ones(FRAMES) for name in names}.__getitem__,
    }
    return ClipSet(names, {name: i % K for i, name in enumerate(names)}, readers)


@pytest.fixture
def network(clips):
    torch.manual_seed(0)
    audio, visual = AudioNet([D_AUDIO], (8, 8), K, 0.0), VisualNet(BLOCKS, 8, K, 0.0)
    network = fusion_net(audio, visual, K, FUSION)
    fit_statistics(network, clips)
    return network


def test_bce_of_one_hot_targets_by_hand():
    logits = torch.tensor([[0.0, 2.0]])
    by_hand = -(F.logsigmoid(torch.tensor(2.0)) + F.logsigmoid(torch.tensor(0.0))) / 2
    assert emotion_bce(logits, torch.tensor([1])).item() == pytest.approx(by_hand.item())


def test_scores_are_probabilities_in_the_order_of_the_logits():
    logits = torch.randn(5, K)
    p = log_scores(logits).exp()
    assert torch.allclose(p.sum(dim=1), torch.ones(5))
    assert torch.equal(p.argsort(dim=1), logits.argsort(dim=1))


def test_alpha_and_beta_of_zero_leave_the_fused_term(network, clips):
    batch = next(iter(clips.ordered(CLIPS)))
    losses = emotion_step(("av", "audio", "visual"))(network, batch)
    phases = {p.name: p for p in fusion_phases(FUSION, LossParams(alpha=0, beta=0))}
    assert torch.equal(weighted_sum(losses, phases["joint"].weights), losses["l_av"])
    assert phases["warmup"].weights == phases["joint"].weights
    weighted = fusion_phases(FUSION, LossParams(alpha=0.5, beta=2))[-1].weights
    assert weighted == {"l_av": 1.0, "l_a": 0.5, "l_v": 2.0}


def test_the_residual_head_starts_as_the_product_of_the_branches():
    head = FusionHead(4, 8, K, dropout=0.0, residual=True)
    audio, visual = (torch.randn(2, 2), torch.randn(2, K)), (torch.randn(2, 2), torch.randn(2, K))
    product = (log_scores(audio[1]) + log_scores(visual[1])).log_softmax(dim=1)
    assert torch.allclose(log_scores(head(audio, visual)), product, atol=1e-5)


def test_the_head_of_the_paper_reads_features_alone():
    head = FusionHead(4, 8, K, dropout=0.0, residual=False)
    audio, visual = torch.randn(2, 2), torch.randn(2, 2)
    first, second = (head((audio, torch.randn(2, K)), (visual, torch.randn(2, K))) for _ in "ab")
    assert torch.equal(first, second) and first.any()


@pytest.mark.parametrize("residual", [True, False])
def test_training_withholds_sound_or_picture_and_never_both(residual):
    share, clips = 0.4, 2000
    head = FusionHead(4, 8, K, dropout=0.0, residual=residual, modality_dropout=share)
    torch.nn.init.normal_(head.layers[-1].weight)
    audio, visual = (torch.randn(1, 2), torch.randn(1, K)), (torch.randn(1, 2), torch.randn(1, K))
    nothing = torch.zeros(1, 2), torch.zeros(1, K)  # equal logits: no opinion
    pairs = ((audio, visual), (nothing, visual), (audio, nothing))
    expected = [log_scores(head.eval()(*pair)) for pair in pairs]
    many = [tuple(part.expand(clips, -1) for part in branch) for branch in (audio, visual)]
    found = log_scores(head.train()(*many))
    alike = torch.stack([(found - one).abs().amax(dim=1) < 1e-5 for one in expected])
    assert (alike.sum(dim=0) == 1).all()
    assert alike.double().mean(dim=1).tolist() == pytest.approx([0.6, 0.2, 0.2], abs=0.05)


def test_fusion_overfits_four_clips(network, clips):
    history = History()
    for phase in fusion_phases(FUSION, LossParams(alpha=1, beta=1)):
        fit(
            phase.part(network), clips.shuffled(4, 0), phase.step, phase.weights, phase.settings,
            history.record(phase=phase.name),
        )  # fmt: skip
    logits = network(next(iter(clips.ordered(CLIPS))))
    for branch in ("av", "audio", "visual"):
        assert logits[branch].argmax(dim=1).tolist() == clips.labels().tolist()
    assert [row["phase"] for row in history.rows] == ["warmup"] * 40 + ["joint"] * 40


def test_fusion_is_better_than_either_branch_where_each_knows_a_half():
    """Sound tells the first bit of an emotion, the face the second; 48 clips train, 200 test."""
    draw = torch.Generator().manual_seed(0)
    names = [f"c{i}" for i in range(248)]
    labels = {name: i % 4 for i, name in enumerate(names)}
    label = torch.tensor(list(labels.values()))
    audio = torch.randn(248, D_AUDIO, generator=draw)
    audio[:, 0] += 4.0 * (label // 2)
    faces = torch.randn(248, FRAMES, D_FACE, generator=draw)
    faces[..., 0] += 2.0 * (label % 2)[:, None]
    readers = {
        "audio": dict(zip(names, audio, strict=True)).__getitem__,
        "faces": dict(zip(names, faces, strict=True)).__getitem__,
        "weights": {name: torch.ones(FRAMES) for name in names}.__getitem__,
    }
    clips = ClipSet(names[:48], labels, readers)
    torch.manual_seed(0)
    network = fusion_net(
        AudioNet([D_AUDIO], (8, 8), 4, 0.0), VisualNet(BLOCKS, 8, 4, 0.0), 4, FUSION
    )
    fit_statistics(network, clips)
    settings = {"hidden": 8, "dropout": 0.0, "epochs": 40, "lr": 0.02, "weight_decay": 0.01}
    audio_params = AudioParams(
        embeddings=("Cnn14",),
        encoders=("whisper_tiny_en",),
        handcrafted=False,
        l2=1e-4,
        train="head",
        tune_epochs=1,
        tune_lr=1e-4,
        tune_batch=2,
        **{**settings, "hidden": (8, 8)},
    )
    visual_params = VisualParams(speech_weighting=False, speech_floor=0.0, **settings)
    short = FUSION.model_copy(update={"warmup_epochs": 5, "epochs": 5, "lr": 0.001})
    for phase in (
        audio_phase("audio", audio_params),
        visual_phase("visual", visual_params, Widths(4, (D_AUDIO,), D_FACE)),
        *fusion_phases(short, LossParams(alpha=1, beta=1)),
    ):
        part = phase.part(network)
        fit(
            part,
            clips.only(phase.inputs).shuffled(16, 0),
            phase.step,
            phase.weights,
            phase.settings,
        )
    tested = clips.subset(names[48:])
    logits = network.eval()(next(iter(tested.ordered(200))))
    right = {b: (one.argmax(dim=1) == tested.labels()).float().mean() for b, one in logits.items()}
    total = log_scores(logits["audio"]) + log_scores(logits["visual"])
    together = (total.argmax(dim=1) == tested.labels()).float().mean()
    assert right["av"] > max(right["audio"], right["visual"]) + 0.2
    assert right["av"] >= together


def test_a_batch_of_clips_equals_single_clips(network, clips):
    network.eval()
    together = network(next(iter(clips.ordered(CLIPS))))["av"]
    alone = torch.cat([network(batch)["av"] for batch in clips.ordered(1)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_frames_without_weight_do_not_count():
    faces = torch.tensor([[[1.0], [5.0], [100.0]]])
    assert pool_frames(faces, torch.tensor([[1.0, 3.0, 0.0]])).item() == pytest.approx(4.0)
    assert pool_frames(faces, torch.zeros(1, 3)).item() == 0.0


def test_a_floor_of_one_turns_speech_weighting_off():
    speech, visible = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([True, True, False])
    assert frame_weights(speech, visible, 1.0).tolist() == [1.0, 1.0, 0.0]
    assert frame_weights(speech, visible, 0.2).tolist() == pytest.approx([0.2, 0.6, 0.0])


def test_standardize_gives_each_block_a_mean_square_norm_of_one():
    values = torch.randn(50, 7) * torch.arange(1, 8) + 3
    values[:, 6] = 4.2  # constant: says nothing, must not blow up
    standardize = Standardize([5, 2])
    standardize.fit(values)
    out = standardize(values)
    assert torch.allclose(out.mean(dim=0), torch.zeros(7), atol=1e-5)
    assert out[:, :5].square().sum(dim=1).mean().item() == pytest.approx(1.0, rel=1e-4)
    assert out[:, 6].abs().max().item() == 0.0
