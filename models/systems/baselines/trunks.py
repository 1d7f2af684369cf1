"""Image and video networks without their classifiers, and their published weights."""

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet50_Weights, resnet18, resnet50
from torchvision.models.video import MC3_18_Weights, R3D_18_Weights, mc3_18, r3d_18

from models.faces.backbones import published_state
from models.systems.baselines.augment import Jitter, augmented
from models.systems.baselines.inputs import SNIPPET_FRAMES
from models.systems.baselines.params import ImageNet, VideoNet
from pipeline.errors import WeightsError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINETICS_MEAN, KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


class Pixels(nn.Module):
    """uint8 [N, ..., 3, H, W] -> float, standardised by constants that owe nothing to our clips.

    In training mode each of the N is changed at random first, see `augmented`. A frozen trunk stays
    in eval mode, so that its pictures are never changed.

    Args:
        mean: of red, green, blue in [0, 1].
        std: of red, green, blue in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, ..., 3, H, W] -> same shape."""
        pictures = pixels.float() / 255
        if self.training:
            pictures = augmented(pictures)
        return (pictures - self.mean) / self.std


class FramesLast(nn.Module):
    """Frames to the order of axes that 3-D convolutions take."""

    def forward(self, frames: Tensor) -> Tensor:
        """[N, T, 3, H, W] -> [N, 3, T, H, W]."""
        return frames.transpose(1, 2)


class MeanOverTime(nn.Module):
    """Average pooling over time."""

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, T, H, W] -> [N, C, H, W]."""
        return maps.mean(dim=2)


def image_trunk(name: ImageNet, published: bool, faces: bool = False) -> nn.Module:
    """Pictures uint8 [N, 3, H, W] -> pooled features [N, C].

    Args:
        name: of the network.
        published: whether it begins from ImageNet's weights, or from random ones.
        faces: whether the pictures are face crops, which training shifts and scales.

    Raises:
        WeightsError: published weights cannot be fetched.
    """
    network = {"resnet18": resnet18, "resnet50": resnet50}[name]()
    if published:
        choice = {"resnet18": ResNet18_Weights, "resnet50": ResNet50_Weights}[name]
        network.load_state_dict(published_state(choice.IMAGENET1K_V1))
    network.fc = nn.Identity()
    pixels = Pixels(IMAGENET_MEAN, IMAGENET_STD)
    # standardised first: what lies beyond a crop takes the mean colour
    return nn.Sequential(pixels, *([Jitter()] if faces else []), network)


def video_trunk(name: VideoNet, published: bool) -> nn.Module:
    """Snippets uint8 [N, 16, 3, H, W] -> maps [N, C, H / 16, W / 16], the mean over time.

    Raises:
        WeightsError: published weights cannot be fetched, or there are none.
    """
    if name == "c3d":
        if published:
            raise WeightsError(
                "baselines.weights: got published, but there are none for c3d; "
                "set baselines.video_net to r3d_18 or mc3_18"
            )
        layers: nn.Module = _c3d()
    else:
        network = {"mc3_18": mc3_18, "r3d_18": r3d_18}[name]()
        if published:
            choice = {"mc3_18": MC3_18_Weights, "r3d_18": R3D_18_Weights}[name]
            network.load_state_dict(published_state(choice.KINETICS400_V1))
        parts = dict(network.named_children())
        layers = nn.Sequential(
            *(parts[n] for n in ("stem", "layer1", "layer2", "layer3", "layer4"))
        )
    pixels = Pixels(KINETICS_MEAN, KINETICS_STD)
    return nn.Sequential(pixels, FramesLast(), layers, MeanOverTime())


def sound_trunk(published: bool) -> nn.Module:
    """Cepstra [N, 1, frames, 32] -> pooled features [N, 512], a ResNet-18 with one input channel.

    Its first convolution sees 7 frames of one coefficient, as VAANet's does.

    Raises:
        WeightsError: published weights cannot be fetched.
    """
    network = resnet18()
    if published:
        network.load_state_dict(published_state(ResNet18_Weights.IMAGENET1K_V1))
    network.conv1 = nn.Conv2d(1, 64, (7, 1), stride=(2, 1), padding=(3, 0), bias=False)
    network.fc = nn.Identity()
    return network


@torch.no_grad()
def output_shape(trunk: nn.Module, *picture: int) -> tuple[int, ...]:
    """Shape of a trunk's output for one item, found by trying."""
    mode = trunk.training
    shape = tuple(trunk.eval()(torch.zeros(1, *picture, dtype=torch.uint8)).shape[1:])
    trunk.train(mode)
    return shape


def snippet_maps(trunk: nn.Module, size_px: int) -> tuple[int, int]:
    """Channels and positions of a video trunk's maps."""
    channels, height, width = output_shape(trunk, SNIPPET_FRAMES, 3, size_px, size_px)
    return channels, height * width


def _c3d() -> nn.Sequential:
    """Five 3 x 3 x 3 convolutions; all but the last halve the picture, all but the ends time."""
    blocks = ((3, 16, 1, 2), (16, 32, 2, 2), (32, 64, 2, 2), (64, 128, 2, 2), (128, 128, 1, 1))
    layers: list[nn.Module] = []
    for inputs, outputs, time, space in blocks:
        stride = (time, space, space)
        layers += [
            nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
