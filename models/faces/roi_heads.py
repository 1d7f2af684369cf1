"""The second stage of the detector: classes, corner deltas and how sure each corner is.

torchvision's RoI heads know no variances, so `UncertainRoIHeads` replaces their loss and their
post-processing and keeps the rest (matching, sampling, pooling).

Boxes are class-agnostic: one box a RoI, whatever the emotion. An emotion does not change what a
face box is, and class-specific deltas would leave each with 1/K of the data.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, remove_small_boxes
from torchvision.ops.poolers import initLevelMapper

from models.faces.voting import nms_with_voting
from models.losses import clamp_log_var, kl_box_loss

DELTA_WEIGHT = 10.0
"""Corner deltas are 10 * (target - proposal) / size, so that their spread is near 1."""

BACKGROUND = 0
"""Class index of no face; emotions start at 1."""


class CornerCoder:
    """Corner deltas (dx1, dy1, dx2, dy2) in units of the proposal's width and height / 10.

    Corners, not centre and size, so that each coordinate of a box has a variance of its own.
    Takes the place of torchvision's `BoxCoder` in `RoIHeads`.
    """

    def encode(self, reference_boxes: list[Tensor], proposals: list[Tensor]) -> list[Tensor]:
        """Deltas that lead from each proposal to its reference box, per image [N_i, 4]."""
        return [
            DELTA_WEIGHT * (reference - proposal) / box_scale(proposal)
            for reference, proposal in zip(reference_boxes, proposals, strict=True)
        ]

    def decode(self, deltas: Tensor, proposals: Tensor) -> Tensor:
        """Boxes [N, 4] from deltas [N, 4] and proposals [N, 4]."""
        return proposals + deltas * box_scale(proposals) / DELTA_WEIGHT


def box_scale(boxes: Tensor) -> Tensor:
    """Width and height of each box as (w, h, w, h) [N, 4]."""
    return (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


class BoxPredictor(nn.Module):
    """Three linear layers over the head's embedding [N, D].

    Args:
        embedding_dim: D.
        classes: classes without the background, K.
    """

    def __init__(self, embedding_dim: int, classes: int) -> None:
        super().__init__()
        self.class_logits = nn.Linear(embedding_dim, classes + 1)
        self.deltas = nn.Linear(embedding_dim, 4)
        # near 0 at first, so that the box loss starts as smooth L1 (He et al., Section 3.2)
        self.log_var = nn.Linear(embedding_dim, 4)
        nn.init.normal_(self.log_var.weight, std=1e-4)
        nn.init.zeros_(self.log_var.bias)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits [N, K+1], corner deltas [N, 4], alpha = log sigma^2 of the deltas [N, 4]."""
        return (
            self.class_logits(embedding),
            self.deltas(embedding),
            clamp_log_var(self.log_var(embedding)),
        )


class FixedScaleRoIAlign(MultiScaleRoIAlign):
    """torchvision's pooling with the strides of the pyramid's levels stated.

    torchvision guesses them from the first images that it meets and keeps the guess. For a small
    image that is padded much the guess is wrong, and every later image is pooled from wrong places.

    Args:
        strides: px of the image per cell of each level, powers of 2, ascending.
        cells: side of the output.
    """

    def __init__(self, strides: Sequence[int], cells: int) -> None:
        names = [str(level) for level in range(len(strides))]
        super().__init__(names, cells, sampling_ratio=2)
        self.scales = [1 / stride for stride in strides]
        self.map_levels = initLevelMapper(
            int(math.log2(strides[0])),
            int(math.log2(strides[-1])),
            canonical_scale=self.canonical_scale,
            canonical_level=self.canonical_level,
        )


class UncertainRoIHeads(RoIHeads):
    """torchvision's RoI heads with a box loss over variances and variance voting.

    In training mode, targets are a list with one dict an image: `boxes` FloatTensor[N, 4] as
    (x1, y1, x2, y2) in pixels of the resized image, half-open, 0 <= x1 < x2 <= W; `labels`
    Int64Tensor[N] in 1..K. An image without a face has boxes [0, 4] and labels [0].

    Args:
        box_roi_pool: pools a map to the cells of each box.
        box_head: cells -> embedding [N, D].
        box_predictor: over the embedding.
        learn_variance: whether the box loss is KL; False holds alpha at 0, which is smooth L1.
        voting_sigma_t: width of variance voting; None is NMS alone.
        settings: of torchvision's heads: matching, sampling, thresholds.
    """

    def __init__(
        self,
        box_roi_pool: nn.Module,
        box_head: nn.Module,
        box_predictor: BoxPredictor,
        *,
        learn_variance: bool,
        voting_sigma_t: float | None,
        **settings: Any,
    ) -> None:
        super().__init__(box_roi_pool, box_head, box_predictor, **settings)
        self.box_coder = CornerCoder()
        self._learn_variance = learn_variance
        self._voting_sigma_t = voting_sigma_t

    def learn_variances(self, learn: bool) -> None:
        """Train with the KL loss, or hold alpha at 0."""
        self._learn_variance = learn

    def vote(self, sigma_t: float | None) -> None:
        """Set the width of variance voting; None is NMS alone."""
        self._voting_sigma_t = sigma_t

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[dict[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Losses `class` and `box` in training mode, detections in eval mode.

        Returns:
            One dict an image, none in training mode: `boxes` [N, 4] px of the resized image,
            `log_var` [N, 4] log px^2, `scores` [N] = 1 - p(background) and `probs` [N, K+1],
            best first; N = 0 where no score passes the threshold.
        """
        if not self.training:
            predicted = self.box_predictor(self.embed(features, proposals, image_shapes))
            return self._detections(predicted, proposals, image_shapes), {}
        proposals, _, labels, deltas = self.select_training_samples(proposals, targets)
        predicted = self.box_predictor(self.embed(features, proposals, image_shapes))
        return [], self._losses(predicted, torch.cat(labels), torch.cat(list(deltas)))

    def embed(
        self, features: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Penultimate layer of the head for the given boxes, [N, D] over all images."""
        embedding: Tensor = self.box_head(self.box_roi_pool(features, boxes, image_shapes))
        return embedding

    def _losses(
        self, predicted: tuple[Tensor, Tensor, Tensor], labels: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        logits, deltas, log_var = predicted
        face = labels > BACKGROUND
        alpha = log_var if self._learn_variance else torch.zeros_like(log_var)
        share = face.sum() / max(1, len(labels))
        return {
            "class": nn.functional.cross_entropy(logits, labels),
            "box": share * kl_box_loss(deltas[face], alpha[face], target[face]),
        }

    def _detections(
        self,
        predicted: tuple[Tensor, Tensor, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        counts = [len(p) for p in proposals]
        logits, deltas, log_var = (part.split(counts) for part in predicted)
        return [
            self._detections_of_image(*image)
            for image in zip(logits, deltas, log_var, proposals, image_shapes, strict=True)
        ]

    def _detections_of_image(
        self,
        logits: Tensor,
        deltas: Tensor,
        log_var: Tensor,
        proposals: Tensor,
        shape: tuple[int, int],
    ) -> dict[str, Tensor]:
        boxes = clip_boxes_to_image(self.box_coder.decode(deltas, proposals), shape)
        log_var_px = log_var + 2 * torch.log(box_scale(proposals) / DELTA_WEIGHT)
        probs = logits.softmax(dim=1)  # [M, K+1]
        scores = 1 - probs[:, BACKGROUND]
        candidates = remove_small_boxes(boxes, min_size=1.0)
        candidates = candidates[scores[candidates] > self.score_thresh]
        keep, voted, voted_log_var = nms_with_voting(
            boxes[candidates],
            scores[candidates],
            log_var_px[candidates],
            self.nms_thresh,
            self._voting_sigma_t,
        )
        rows = candidates[keep][: self.detections_per_img]
        return {
            "boxes": voted[: self.detections_per_img],
            "log_var": voted_log_var[: self.detections_per_img],
            "scores": scores[rows],
            "probs": probs[rows],
        }
