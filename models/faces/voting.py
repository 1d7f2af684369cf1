"""Variance voting: neighbouring boxes refine a kept box, sure ones with more weight."""

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

MIN_IOU = 0.01
"""Boxes that overlap a kept box by less do not vote."""


def vote(kept: Tensor, boxes: Tensor, log_var: Tensor, sigma_t: float) -> tuple[Tensor, Tensor]:
    """Move each kept box to the weighted mean of the boxes that overlap it.

    The log variance is that of the mean, its weights taken as given. Candidates look at one face
    in one image, and most of their error is the image's (where the reference would put its box),
    so they err together. For errors with correlation 1 the standard deviation of a weighted mean
    is the weighted mean of the standard deviations; for any other correlation it is smaller. So
    sigma never claims that 60 looks at one frame are 60 measurements.

    Args:
        kept: boxes that survived NMS [N, 4], px.
        boxes: all candidates, the kept ones among them [M, 4], px.
        log_var: log variance of each candidate's coordinates [M, 4], log px^2.
        sigma_t: width of the vote in (1 - IoU)^2, > 0; small values listen to close boxes only.

    Returns:
        Boxes [N, 4], px, and their log variances [N, 4], log px^2. A box that nothing else
        overlaps is returned unchanged.

    Source: He et al., CVPR 2019, Section 3.3, Eq. (11), for the boxes. The paper reports no
    variance of them.
    """
    # p_i = exp(-(1 - IoU(b_i, b))^2 / sigma_t) for IoU > 0.01, else 0
    iou = box_iou(kept, boxes)  # [N, M]
    log_closeness = (-((1 - iou) ** 2) / sigma_t).masked_fill(iou <= MIN_IOU, -torch.inf)
    # w_i = (p_i / s_i^2) / sum_j (p_j / s_j^2); x = sum w_i x_i; s = sum w_i s_i
    log_weight = (log_closeness[:, :, None] - log_var[None]).log_softmax(dim=1)  # [N, M, 4]
    voted = (log_weight.exp() * boxes[None]).sum(dim=1)
    return voted, 2 * torch.logsumexp(log_weight + log_var[None] / 2, dim=1)


def nms_with_voting(
    boxes: Tensor, scores: Tensor, log_var: Tensor, nms_iou: float, sigma_t: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Non-maximum suppression, then variance voting by all candidates.

    Args:
        boxes: candidates [M, 4], px.
        scores: their scores [M].
        log_var: their log variances [M, 4], log px^2.
        nms_iou: candidates that overlap a better one by more are dropped.
        sigma_t: see `vote`; None keeps the boxes as NMS leaves them.

    Returns:
        Indices of the kept candidates, best first, int64 [N], their boxes [N, 4] and the log
        variances of these [N, 4].
    """
    keep = nms(boxes, scores, nms_iou)
    if sigma_t is None or len(keep) == 0:
        return keep, boxes[keep], log_var[keep]
    return keep, *vote(boxes[keep], boxes, log_var, sigma_t)
