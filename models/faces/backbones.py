"""The detector from its parts: pyramid, anchors, heads; and the weights published for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import (
    MobileNet_V3_Large_Weights,
    ResNet18_Weights,
    ResNet50_Weights,
    WeightsEnum,
    resnet18,
)
from torchvision.models.detection import (
    FasterRCNN,
    FasterRCNN_MobileNet_V3_Large_320_FPN_Weights,
    FasterRCNN_ResNet50_FPN_Weights,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import (
    BackboneWithFPN,
    mobilenet_backbone,
    resnet_fpn_backbone,
)
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d

from models.faces.detector import Detector
from models.faces.detector_file import Origin
from models.faces.params import BackboneName, DetectorParams
from models.faces.roi_heads import BoxPredictor, FixedScaleRoIAlign, UncertainRoIHeads
from pipeline.errors import WeightsError

LIGHT_CHANNELS = 64
ANCHOR_SIZES_PX = (32, 64, 128, 256, 512)

IMAGENET: dict[BackboneName, WeightsEnum] = {
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "mobilenet_v3": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
    "resnet18_light": ResNet18_Weights.IMAGENET1K_V1,
}
COCO: dict[BackboneName, WeightsEnum] = {
    "resnet50": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
    "mobilenet_v3": FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1,
}


def build_backbone(name: BackboneName, origin: Origin, frozen_stages: int) -> BackboneWithFPN:
    """A feature pyramid; maps batches [B, 3, H, W] to a dict of maps [B, C, H/s, W/s].

    Untrained networks get batch normalisation, the others torchvision's frozen one.

    Args:
        name: `resnet50` and `mobilenet_v3` are torchvision's own; `resnet18_light` is a ResNet-18
            with a 64-channel pyramid, small enough to learn from scratch on a CPU.
        origin: kind of weights that will be loaded.
        frozen_stages: stages that are not trained, counted from the image.
    """
    norm = nn.BatchNorm2d if origin == "untrained" else FrozenBatchNorm2d
    if name == "resnet50":
        return resnet_fpn_backbone(
            backbone_name="resnet50",
            weights=None,
            norm_layer=norm,
            trainable_layers=5 - frozen_stages,
        )
    if name == "mobilenet_v3":
        pyramid: BackboneWithFPN = mobilenet_backbone(
            backbone_name="mobilenet_v3_large",
            weights=None,
            fpn=True,
            norm_layer=norm,
            trainable_layers=6 - frozen_stages,
        )
        return pyramid
    return _light_resnet18(norm, frozen_stages)


def anchor_sizes(name: BackboneName) -> tuple[tuple[int, ...], ...]:
    """Anchor sizes in px of the resized image, one tuple a level, as torchvision sets them."""
    if name == "mobilenet_v3":
        return (ANCHOR_SIZES_PX,) * 3
    return tuple((size,) for size in ANCHOR_SIZES_PX)


def imagenet_state(name: BackboneName) -> dict[str, Tensor]:
    """Published classification weights of the backbone's body.

    Raises:
        WeightsError: they are not in torch's cache and cannot be fetched.
    """
    return published_state(IMAGENET[name])


def coco_state(name: BackboneName) -> dict[str, Tensor]:
    """Published weights of the whole torchvision detector.

    Raises:
        WeightsError: there are none for this backbone, or they cannot be fetched.
    """
    if name not in COCO:
        raise WeightsError(
            f"detector.weights: got coco, but nobody published COCO weights for {name}; "
            f"use imagenet or untrained, or detector.backbone {' or '.join(COCO)}"
        )
    return published_state(COCO[name])


def _light_resnet18(norm: type[nn.Module], frozen_stages: int) -> BackboneWithFPN:
    body = resnet18(norm_layer=norm)
    stages = [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
    for part in (part for stage in stages[:frozen_stages] for part in stage):
        body.get_submodule(part).requires_grad_(False)
    return BackboneWithFPN(
        body,
        return_layers={f"layer{k + 1}": str(k) for k in range(4)},
        in_channels_list=[64, 128, 256, 512],
        out_channels=LIGHT_CHANNELS,
    )


def published_state(weights: WeightsEnum) -> dict[str, Tensor]:
    """Weights that torchvision publishes, from torch's cache or fetched into it.

    Raises:
        WeightsError: they are not in the cache and cannot be fetched.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        state: dict[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{file}: cannot fetch {weights.url} ({error}); download it by hand and put it there"
        ) from error
    return state


LIGHT_EMBEDDING, EMBEDDING = 256, 1024
"""Width D of the box head, of `resnet18_light` and of the other backbones."""
ROI_CELLS = 7
STRIDES: dict[BackboneName, tuple[int, ...]] = {
    "resnet50": (4, 8, 16, 32),
    "resnet18_light": (4, 8, 16, 32),
    "mobilenet_v3": (32, 32),
}
"""Of the pyramid's levels that faces are pooled from, px per cell."""
MAX_DETECTIONS = 20


def assemble(params: DetectorParams, classes: Sequence[str], origin: Origin) -> Detector:
    """Put the parts together, with random weights; `models.faces.weights` loads others."""
    backbone = build_backbone(params.backbone, origin, params.frozen_stages)
    channels = backbone.out_channels
    embedding = LIGHT_EMBEDDING if params.backbone == "resnet18_light" else EMBEDDING
    sizes = anchor_sizes(params.backbone)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    net = FasterRCNN(
        backbone,
        # transform
        min_size=params.min_size_px,
        max_size=params.max_size_px,
        # region proposals
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(channels, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_train=4 * params.proposals,
        rpn_pre_nms_top_n_test=4 * params.proposals,
        rpn_post_nms_top_n_train=params.proposals,
        rpn_post_nms_top_n_test=params.proposals,
        # head
        box_roi_pool=FixedScaleRoIAlign(STRIDES[params.backbone], ROI_CELLS),
        box_head=TwoMLPHead(channels * ROI_CELLS**2, embedding),
        box_predictor=BoxPredictor(embedding, len(classes)),
    )
    net.roi_heads = _roi_heads(net.roi_heads, params)
    return Detector(net, classes, params.box_weight, params.closer_px)


def _roi_heads(parts: Any, params: DetectorParams) -> UncertainRoIHeads:
    return UncertainRoIHeads(
        parts.box_roi_pool,
        parts.box_head,
        parts.box_predictor,
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=params.roi_batch,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=params.score_threshold,
        nms_thresh=params.nms_iou,
        detections_per_img=MAX_DETECTIONS,
        learn_variance=params.box_loss == "kl",
        voting_sigma_t=params.voting_sigma_t if params.voting else None,
    )
