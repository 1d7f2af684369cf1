import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.faces.closer_look import JITTER
from models.faces.frames import BRIGHTNESS, CONTRAST
from models.fusion.network import SingleNet
from models.losses import emotion_bce, log_odds, log_scores, polarity_consistent_ce
from models.systems.baselines.augment import Jitter, augmented
from models.systems.baselines.inputs import Precomputed
from models.systems.baselines.trunks import (
    Pixels,
    image_trunk,
    output_shape,
    snippet_maps,
    sound_trunk,
    video_trunk,
)
from models.systems.baselines.tzirakis import RawSound, TzirakisNet
from models.systems.baselines.vaanet import (
    Attention,
    AudioStream,
    TemporalAttention,
    VaaNet,
    VisualStream,
)
from models.systems.baselines.visual_cnn import FrameNet
from models.systems.inputs import ClipSet
from models.training import TrainSettings, describe, fit
from pipeline.errors import WeightsError

K, CLIPS, PX = 4, 4, 32


def pictures(*shape):
    """Noise over a colour that differs by clip."""
    draw = torch.Generator().manual_seed(sum(shape))
    noise = torch.randint(0, 64, (CLIPS, *shape, 3, PX, PX), generator=draw)
    colour = torch.tensor([[0, 0, 0], [180, 0, 0], [0, 180, 0], [0, 0, 180]])
    return (noise + colour.view(CLIPS, *(1 for _ in shape), 3, 1, 1)).to(torch.uint8)


class TinyTrunk(nn.Module):
    """Stands for a ResNet: [N, C, H, W] -> [N, width]."""

    def __init__(self, channels, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, width, 8, stride=8), nn.LeakyReLU())

    def forward(self, pictures):
        return self.layers(pictures.float() / 255).mean(dim=(2, 3))


def frame_net():
    layers = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU())
    return SingleNet("visual", FrameNet("frames", TinyTrunk(3, 6), layers, nn.Linear(8, K)))


def tzirakis():
    return TzirakisNet(RawSound(0.0), TinyTrunk(3, 6), 6 + 128, K)


def vaa_net():
    visual = VisualStream(video_trunk("c3d", published=False), 128, 4, 2)
    audio = AudioStream(TinyTrunk(1, 512), 2)
    return VaaNet(visual, audio, K)


INPUTS = {
    "frames": pictures(3),
    "crops": pictures(2),
    "windows": torch.randn(CLIPS, 4, 64, generator=torch.Generator().manual_seed(1)),
    "snippets": pictures(2, 16),
    "cepstra": torch.randn(CLIPS, 2, 16, 32, generator=torch.Generator().manual_seed(2)),
    "label": torch.arange(CLIPS) % K,
}
NETWORKS = {"visual": frame_net, "dnn": tzirakis, "vaanet": vaa_net}
LEARNING = {"visual": (60, 0.03), "dnn": (20, 0.003), "vaanet": (8, 0.003)}
"""Epochs and learning rate that are enough for four clips."""


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def network(name):
    torch.manual_seed(0)
    return NETWORKS[name]()


def step(network, batch):
    (logits,) = network(batch).values()
    return {"l_av": F.cross_entropy(F.logsigmoid(logits), batch["label"])}


def test_batch_equals_its_singles(network):
    network.eval()
    (together,) = network(INPUTS).values()
    assert together.shape == (CLIPS, K)
    singles = [network({k: v[i : i + 1] for k, v in INPUTS.items()}) for i in range(CLIPS)]
    apart = torch.cat([next(iter(single.values())) for single in singles])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_gradient_reaches_every_parameter(network):
    network.train()
    step(network, INPUTS)["l_av"].backward()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().any()]
    assert not dead
    assert describe(network).trained == describe(network).total > 0


def test_four_clips_are_learned_by_heart(name, network):
    readers = {k: (lambda i, v=v: v[int(i)]) for k, v in INPUTS.items() if k != "label"}
    clips = ClipSet("0123", {str(i): i % K for i in range(CLIPS)}, readers)
    settings = TrainSettings(*LEARNING[name], weight_decay=0.0)
    fit(network, clips.shuffled(CLIPS, 0), step, {"l_av": 1.0}, settings)
    with torch.no_grad():
        (logits,) = network(INPUTS).values()
    assert logits.argmax(dim=1).tolist() == INPUTS["label"].tolist()


def test_attention_sums_to_1_and_over_time_starts_as_the_mean():
    values = torch.randn(3, 5, 7)
    assert torch.allclose(Attention(5, 7).eval()(values).sum(dim=1), torch.ones(3))
    temporal = TemporalAttention(5, 7).eval()
    nn.init.zeros_(temporal.mix.weight)
    assert torch.equal(temporal(values), torch.ones(3, 7))


def test_vaanet_names_its_attention():
    torch.manual_seed(0)
    seen = vaa_net().eval().visual(INPUTS["snippets"])
    assert {k: tuple(v.shape) for k, v in seen.weights.items()} == {
        "space": (CLIPS * 2, 4), "channel": (CLIPS * 2, 512), "time": (CLIPS, 2),
    }  # fmt: skip
    for name in ("space", "channel"):
        assert torch.allclose(seen.weights[name].sum(dim=1), torch.ones(CLIPS * 2))


def test_raw_sound_has_the_published_width():
    assert RawSound(0.5)(torch.randn(2, 640)).shape == (2, 1280)


def test_polarity_penalty_by_hand():
    signs = torch.tensor([-1, 1, 0, 0])  # anger, happiness, neutral, calm
    assert signs.tolist() == [-1, 1, 0, 0]
    # best guesses: happiness, anger, neutral, happiness
    logits = torch.tensor([[0.0, 1, 0, 0], [2.0, 0, 0, 0], [0, 0, 1.0, 0], [0, 3.0, 0, 0]])
    label = torch.tensor([0, 0, 1, 2])  # opposed; right; guessed neutral; said neutrally
    plain = F.cross_entropy(logits, label, reduction="none")
    expected = (1.5 * plain[0] + plain[1] + plain[2] + plain[3]) / 4
    torch.testing.assert_close(polarity_consistent_ce(logits, label, signs, 0.5), expected)
    torch.testing.assert_close(polarity_consistent_ce(logits, label, signs, 0.0), plain.mean())


def test_log_odds_keep_the_softmax():
    logits = 20 * torch.randn(6, K)
    odds = log_odds(logits)
    torch.testing.assert_close(log_scores(odds), logits.log_softmax(dim=1))
    torch.testing.assert_close(
        F.cross_entropy(F.logsigmoid(odds), torch.arange(6) % K),
        F.cross_entropy(logits, torch.arange(6) % K),
    )
    assert emotion_bce(odds, torch.arange(6) % K).isfinite()


def test_trunks_have_the_shapes_their_docstrings_state():
    assert output_shape(image_trunk("resnet18", False), 3, PX, PX) == (512,)
    assert snippet_maps(video_trunk("c3d", False), PX) == (128, 4)
    assert snippet_maps(video_trunk("mc3_18", False), PX) == (512, 4)
    assert sound_trunk(False).eval()(torch.zeros(1, 1, 16, 32)).shape == (1, 512)


def test_pixels_are_changed_in_training_alone():
    pixels, values = Pixels((0.0,) * 3, (1.0,) * 3), INPUTS["frames"][0]
    assert not torch.equal(pixels.train()(values), values / 255)
    assert torch.equal(pixels.eval()(values), values / 255)


def test_light_changes_within_the_stated_range_and_half_are_mirrored():
    torch.manual_seed(0)
    ramp = torch.linspace(0.45, 0.55, 8).expand(200, 3, 8, 8)  # brightens from left to right
    found = augmented(ramp)
    shift = found.mean(dim=(1, 2, 3)) - 0.5
    slope = (found[..., -1] - found[..., 0]).mean(dim=(1, 2)) / 0.1
    for value, limit in ((shift, BRIGHTNESS), (slope.abs() - 1, CONTRAST)):
        assert 0.9 * limit < value.abs().max() <= limit + 1e-5
        assert value.min() < -limit / 2 and value.max() > limit / 2
    assert 70 < (slope < 0).sum() < 130
    dark = augmented(torch.zeros(20, 3, 8, 8))
    assert dark.min() == 0 and dark.max() <= BRIGHTNESS


def test_frames_of_a_snippet_change_alike():
    torch.manual_seed(0)
    still = torch.rand(3, 8, 8).expand(2, 16, 3, 8, 8)
    first, second = augmented(still)
    assert torch.equal(first, first[:1].expand_as(first)) and not torch.equal(first, second)


def test_jitter_shifts_and_scales_within_its_range_in_training_alone():
    torch.manual_seed(0)
    jitter, ramp = Jitter(), torch.arange(64.0).expand(100, 3, 64, 64)
    middle = jitter.train()(ramp)[:, 0, 32, 24:40]  # away from the borders
    scale, shift = (middle[:, -1] - middle[:, 0]) / 15 - 1, middle.mean(dim=1) - 31.5
    for value, limit in ((scale, JITTER), (shift / 64, JITTER / 2)):
        assert limit / 2 < value.abs().max() <= limit + 1e-4
        assert value.min() < 0 < value.max()
    assert jitter.eval()(ramp) is ramp


def test_a_frozen_trunk_stays_as_it_is():
    held = Precomputed(image_trunk("resnet18", False))
    held.train()
    assert not held.backbone.training
    assert describe(held).trained == 0 < describe(held).total
    values = torch.randn(2, 3)
    assert held(values) is values


def test_there_are_no_weights_for_c3d():
    with pytest.raises(WeightsError, match="video_net to r3d_18"):
        video_trunk("c3d", published=True)
