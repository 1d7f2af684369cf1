"""Variance voting: neighbouring boxes refine a kept box, sure ones with more weight."""

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

MIN_IOU = 0.01
"""Boxes that overlap a kept box by less do not vote."""


def vote(kept: Tensor, boxes: Tensor, log_var: Tensor, sigma_t: float) -> Tensor:
    """Move each kept box to the weighted mean of the boxes that overlap it.

    Args:
        kept: boxes that survived NMS [N, 4], px.
        boxes: all candidates, the kept ones among them [M, 4], px.
        log_var: log variance of each candidate's coordinates [M, 4], log px^2.
        sigma_t: width of the vote in (1 - IoU)^2, > 0; small values listen to close boxes only.

    Returns:
        Boxes [N, 4]. A box that nothing else overlaps is returned unchanged.

    Source: He et al., CVPR 2019, Section 3.3, Eq. (11).
    """
    if len(kept) == 0:
        return kept
    # p_i = exp(-(1 - IoU(b_i, b))^2 / sigma_t) for IoU > 0.01, else 0
    iou = box_iou(kept, boxes)  # [N, M]
    closeness = torch.exp(-((1 - iou) ** 2) / sigma_t) * (iou > MIN_IOU)
    # x = sum(p_i x_i / s_i^2) / sum(p_i / s_i^2); a common factor in 1 / s^2 cancels, and
    # subtracting the smallest log variance keeps exp in range
    certainty = torch.exp(log_var.min(dim=0).values - log_var)  # [M, 4]
    weight = closeness[:, :, None] * certainty[None]  # [N, M, 4]
    total = weight.sum(dim=1)  # [N, 4]
    moved = (weight * boxes[None]).sum(dim=1) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, moved, kept)


def nms_with_voting(
    boxes: Tensor, scores: Tensor, log_var: Tensor, nms_iou: float, sigma_t: float | None
) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression, then variance voting by all candidates.

    Args:
        boxes: candidates [M, 4], px.
        scores: their scores [M].
        log_var: their log variances [M, 4], log px^2.
        nms_iou: candidates that overlap a better one by more are dropped.
        sigma_t: see `vote`; None keeps the boxes as NMS leaves them.

    Returns:
        Indices of the kept candidates, best first, int64 [N], and their boxes [N, 4].
    """
    keep = nms(boxes, scores, nms_iou)
    kept = boxes[keep]
    return keep, kept if sigma_t is None else vote(kept, boxes, log_var, sigma_t)
