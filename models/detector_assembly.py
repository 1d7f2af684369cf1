"""Put a face detector together from its parts, with random weights."""

from collections.abc import Sequence

from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from models.backbones import Origin, anchor_sizes, build_backbone
from models.box_head import BoxPredictor, CornerCoder, UncertainRoIHeads
from models.detector import Detector, DetectorParams

LIGHT_EMBEDDING, EMBEDDING = 256, 1024
"""Width D of the box head, of `resnet18_light` and of the other backbones."""
ROI_CELLS = 7
MAX_DETECTIONS = 20


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
    return Detector(net, classes, params.box_weight, params.closer_px)


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
