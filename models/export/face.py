"""The best face of a frame as a graph: the detector restated without lists of changing length.

torchvision's detector keeps what passes a threshold, so that the shapes of its tensors depend on
their values. Here whatever does not pass is kept and masked. The size of the frames is fixed.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import clip_boxes_to_image, nms, roi_align

from models.faces.detector import Detector
from models.faces.roi_heads import BACKGROUND, DELTA_WEIGHT, FixedScaleRoIAlign, box_scale
from models.faces.voting import vote

MIN_SIDE_PX = 1.0
"""Of a box, as in `models.faces.roi_heads`."""


class BestFace(nn.Module):
    """What `Detector.best_face` gives of `Detector.detect`, for frames of one size.

    Args:
        detector: in eval mode.
        height_px: of the frames.
        width_px: of the frames.
    """

    anchors: Tensor
    ratio: Tensor
    whole: Tensor

    def __init__(self, detector: Detector, height_px: int, width_px: int) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector)
        net = self.detector.net
        net.roi_heads.box_roi_pool = PoolAllLevels(net.roi_heads.box_roi_pool)
        with torch.no_grad():
            images, _ = net.transform([torch.zeros(3, height_px, width_px)])
            maps = list(net.backbone(images.tensors).values())
            self.register_buffer("anchors", net.rpn.anchor_generator(images, maps)[0])
            shapes = [one.shape for one in net.rpn.head(maps)[0]]
        self.counts = [shape[1:].numel() for shape in shapes]
        self.resized = images.image_sizes[0]
        self.padding = (
            0, images.tensors.shape[3] - self.resized[1],
            0, images.tensors.shape[2] - self.resized[0],
        )  # fmt: skip
        height, width = height_px / self.resized[0], width_px / self.resized[1]
        self.register_buffer("ratio", torch.tensor([width, height, width, height]))
        self.register_buffer("whole", torch.tensor([0.0, 0.0, width_px, height_px]))

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        """Look at one frame.

        Args:
            frame: RGB [height_px, width_px, 3] uint8.

        Returns:
            Box [4] in px and the standard deviation of its coordinates [4], px; score []; features
            [D]. All are 0 where no score passes `detector.score_threshold`.
        """
        image = frame.permute(2, 0, 1).float() / 255
        net, heads = self.detector.net, self.detector.net.roi_heads
        small = F.interpolate(image[None], self.resized, mode="bilinear", align_corners=False)
        maps = net.backbone(F.pad(net.transform.normalize(small), self.padding))
        proposals, there = self._proposals(maps)
        logits, deltas, log_var = heads.box_predictor(
            heads.embed(maps, [proposals], [self.resized])
        )
        boxes = clip_boxes_to_image(heads.box_coder.decode(deltas, proposals), self.resized)
        scores = 1 - logits.softmax(dim=1)[:, BACKGROUND]
        there &= (_sides(boxes) >= MIN_SIDE_PX).all(dim=1) & (scores > heads.score_thresh)
        log_var = log_var + 2 * torch.log(box_scale(proposals) / DELTA_WEIGHT)
        # what is not there votes for nothing: it overlaps no box
        boxes, log_var = (values.where(there[:, None], 0.0) for values in (boxes, log_var))
        score, best = scores.where(there, 0.0).max(dim=0)
        box, log_var = self._voted(boxes, log_var, best[None])
        found = score > 0
        box = (box * self.ratio).where(found, self.whole)  # pooling needs some box
        sigma = torch.exp(log_var[0] / 2) * self.ratio
        if self.detector.closer_px:
            features = self.detector.face_features([image], box)
        else:
            features = heads.embed(maps, [box / self.ratio], [self.resized])
        parts = (box[0], sigma, score, features[0])
        return tuple(part.where(found, 0.0) for part in parts)

    def _proposals(self, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Boxes [P, 4] px of the resized frame, and whether each is one, [P]."""
        rpn = self.detector.net.rpn
        objectness, deltas = concat_box_prediction_layers(*rpn.head(list(maps.values())))
        decoded = rpn.box_coder.decode(deltas, [self.anchors])[:, 0]
        boxes, scores, levels = [], [], []
        for level, (box, score) in enumerate(
            zip(decoded.split(self.counts), objectness[:, 0].split(self.counts), strict=True)
        ):
            best, rows = score.topk(min(len(score), rpn.pre_nms_top_n()))
            boxes.append(clip_boxes_to_image(box[rows], self.resized))
            scores.append(best.sigmoid())
            levels.append(torch.full_like(best, level))
        box, score = torch.cat(boxes), torch.cat(scores)
        score = score.where((_sides(box) >= rpn.min_size).all(dim=1), -1.0)
        # a level's boxes lie beyond all others, so that they suppress each other alone
        apart = box + torch.cat(levels)[:, None] * (max(self.resized) + 1)
        kept = torch.zeros_like(score).index_fill(0, nms(apart, score, rpn.nms_thresh), 1.0)
        score = score.where(kept > 0, -1.0)
        best, rows = score.topk(min(len(score), rpn.post_nms_top_n()))
        return box[rows], best >= 0

    def _voted(self, boxes: Tensor, log_var: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
        """The best box [1, 4] after variance voting, and its log variances [1, 4]."""
        sigma_t = self.detector.net.roi_heads._voting_sigma_t
        if sigma_t is None:
            return boxes[best], log_var[best]
        return vote(boxes[best], boxes, log_var, sigma_t)


class PoolAllLevels(nn.Module):
    """Pools each box from every level of the pyramid and keeps the level of its size.

    Args:
        pool: which pools from that level alone.
    """

    def __init__(self, pool: FixedScaleRoIAlign) -> None:
        super().__init__()
        self.pool = pool

    def forward(
        self, maps: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]
    ) -> Tensor:
        """Cells [N, C, cells, cells] of the boxes [N, 4] of one image."""
        pool = self.pool
        levels = pool.map_levels(boxes)  # [N]
        cells = [
            roi_align(maps[name], boxes, pool.output_size, scale, pool.sampling_ratio)
            for name, scale in zip(pool.featmap_names, pool.scales, strict=True)
        ]
        kept = [
            values.where((levels == level)[:, None, None, None], 0.0)
            for level, values in enumerate(cells)
        ]
        return torch.stack(kept).sum(dim=0)


def _sides(boxes: Tensor) -> Tensor:
    """Width and height of boxes, [N, 4] -> [N, 2]."""
    return boxes[:, 2:] - boxes[:, :2]
