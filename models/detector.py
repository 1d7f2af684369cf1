"""The face detector: torchvision's Faster R-CNN with a head that knows its own uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import MultiScaleRoIAlign

from models.backbones import BackboneName, Origin, anchor_sizes, build_backbone
from models.box_head import BoxPredictor, CornerCoder, UncertainRoIHeads
from pipeline.errors import TrainingError
from pipeline.params import Section

LIGHT_EMBEDDING, EMBEDDING = 256, 1024
"""Width D of the box head, of `resnet18_light` and of the other backbones."""
ROI_CELLS = 7
MAX_DETECTIONS = 20


class DetectorParams(Section):
    """Section `detector` of `params.yaml`."""

    classes: Literal["emotion", "face"]
    backbone: BackboneName
    weights: str = Field(min_length=1)
    frozen_stages: int = Field(ge=0, le=5)
    min_size_px: int = Field(ge=64, le=1600)
    max_size_px: int = Field(ge=64, le=2666)

    box_loss: Literal["kl", "smooth_l1"]
    box_weight: float = Field(ge=0)
    kl_warmup_epochs: int = Field(ge=0)
    voting: bool
    voting_sigma_t: float = Field(gt=0)

    proposals: int = Field(ge=1)
    roi_batch: int = Field(ge=1)
    score_threshold: float = Field(ge=0, lt=1)
    nms_iou: float = Field(gt=0, lt=1)

    frames_per_clip_train: int = Field(ge=1)
    frames_per_clip: int = Field(ge=1)
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _nothing_random_is_frozen(self) -> "DetectorParams":
        if self.weights == "untrained" and self.frozen_stages > 0:
            raise ValueError("frozen_stages must be 0 where detector.weights is untrained")
        return self


@dataclass(frozen=True, slots=True)
class Detections:
    """Faces of one image, best first; N = 0 where no score passes `detector.score_threshold`.

    Attributes:
        boxes: [N, 4] px of the image, half-open corners.
        log_var: log variance of each corner coordinate [N, 4], log px^2.
        scores: 1 - p(background) [N].
        probs: probability of background and each class [N, K+1].
        features: the head's penultimate layer, pooled from `boxes` [N, D].
    """

    boxes: Tensor
    log_var: Tensor
    scores: Tensor
    probs: Tensor
    features: Tensor


class Detector(nn.Module):
    """Faster R-CNN with box variances.

    Images are a list of float tensors [3, H, W] in 0..1, RGB. Targets are a list of one dict an
    image: `boxes` FloatTensor[N, 4] as (x1, y1, x2, y2) in px of that image, half-open,
    0 <= x1 < x2 <= W, 0 <= y1 < y2 <= H; `labels` Int64Tensor[N] in 1..K (1 + index in
    `classes`). An image without a face has boxes [0, 4] and labels [0].

    Args:
        net: the assembled network; its `roi_heads` are `UncertainRoIHeads`.
        classes: names of the classes, without the background.
        box_weight: lambda of Eq. (2).
    """

    def __init__(self, net: FasterRCNN, classes: Sequence[str], box_weight: float) -> None:
        super().__init__()
        self.net = net
        self.classes = tuple(classes)
        self.loss_weights = {
            "objectness": 1.0,
            "proposal": 1.0,
            "class": 1.0,
            "box": box_weight,
        }
        """Weight of each of `losses` in L_v."""

    @property
    def embedding_dim(self) -> int:
        """D, the width of `features`."""
        return int(self.net.roi_heads.box_predictor.deltas.in_features)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Same as `losses`: training wrappers call the module itself."""
        return self.losses(images, targets)

    def losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Named scalar losses; L_v is their weighted sum.

        Returns:
            `objectness` and `proposal` of the region proposals, `class` and `box` of the head.

        Raises:
            TrainingError: the module is in eval mode, where proposals have no loss.
        """
        if not self.training:
            raise TrainingError("detector: losses exist in training mode only; call .train()")
        found = self.net(images, targets)
        return {
            "objectness": found["loss_objectness"],
            "proposal": found["loss_rpn_box_reg"],
            "class": found["class"],
            "box": found["box"],
        }

    @torch.no_grad()
    def detect(self, images: list[Tensor]) -> list[Detections]:
        """Find the faces of each image; the module must be in eval mode."""
        if self.training:
            raise TrainingError("detector: detections exist in eval mode only; call .eval()")
        heads = self.net.roi_heads
        resized, _ = self.net.transform(images)
        maps = self.net.backbone(resized.tensors)
        proposals, _ = self.net.rpn(resized, maps)
        found, _ = heads(maps, proposals, resized.image_sizes)
        boxes = [rows["boxes"] for rows in found]
        features = heads.embed(maps, boxes, resized.image_sizes).split([len(b) for b in boxes])
        return [
            _in_image_px(rows, part, size, (image.shape[-2], image.shape[-1]))
            for rows, part, size, image in zip(
                found, features, resized.image_sizes, images, strict=True
            )
        ]

    def features(self, images: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Differentiable RoI features of given boxes.

        Args:
            images: as in the class docstring, B of them.
            boxes: px of each image, [N_i, 4].

        Returns:
            The head's penultimate layer [sum N_i, D], in order.
        """
        resized, targets = self.net.transform(images, [{"boxes": b} for b in boxes])
        maps = self.net.backbone(resized.tensors)
        within = [target["boxes"] for target in targets]
        embedding: Tensor = self.net.roi_heads.embed(maps, within, resized.image_sizes)
        return embedding

    def class_logits(self, features: Tensor) -> Tensor:
        """Logits of background and classes [N, K+1] from features [N, D]."""
        logits: Tensor = self.net.roi_heads.box_predictor.class_logits(features)
        return logits


def assemble(params: DetectorParams, classes: Sequence[str], origin: Origin) -> Detector:
    """Put the parts together, with random weights; `models.detector_weights` loads others."""
    backbone = build_backbone(params.backbone, origin, params.frozen_stages)
    channels = backbone.out_channels
    embedding = LIGHT_EMBEDDING if params.backbone == "resnet18_light" else EMBEDDING
    sizes = anchor_sizes(params.backbone)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    levels = [str(level) for level in range(len(sizes) - 1)]
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
        box_roi_pool=MultiScaleRoIAlign(levels, ROI_CELLS, sampling_ratio=2),
        box_head=TwoMLPHead(channels * ROI_CELLS**2, embedding),
        box_predictor=BoxPredictor(embedding, len(classes)),
    )
    net.roi_heads = _roi_heads(net.roi_heads, params)
    return Detector(net, classes, params.box_weight)


def _roi_heads(parts: nn.Module, params: DetectorParams) -> UncertainRoIHeads:
    heads = UncertainRoIHeads(
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
    )
    heads.box_coder = CornerCoder()
    heads.learn_variance = params.box_loss == "kl"
    heads.voting_sigma_t = params.voting_sigma_t if params.voting else None
    return heads


def _in_image_px(
    rows: dict[str, Tensor], features: Tensor, resized: tuple[int, int], size: tuple[int, int]
) -> Detections:
    """Undo the resizing: boxes scale by the ratio of sizes, variances by its square."""
    height, width = size[0] / resized[0], size[1] / resized[1]
    log_ratio = torch.log(rows["boxes"].new_tensor([width, height, width, height]))
    return Detections(
        resize_boxes(rows["boxes"], resized, size),
        rows["log_var"] + 2 * log_ratio,
        rows["scores"],
        rows["probs"],
        features,
    )
