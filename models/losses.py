"""The losses of the paper, each below its equation."""

import torch
from torch import Tensor
from torch.nn import functional as F

# ---------------------------------------------------------------- box regression

LOG_VAR_MIN, LOG_VAR_MAX = -7.0, 7.0
"""Range of alpha = log sigma^2. Unclamped, exp(-alpha) overflows and training ends in NaN.

The lower end is also the floor of sigma: exp(-3.5) = 0.03 in units of a corner delta, 0.3 px for a
face of 100 px at the usual delta weight of 10. It is needed because dlib's boxes, the targets, are
self-consistent: where the residual goes to 0 nothing else stops alpha on its way to -inf.
"""


def clamp_log_var(log_var: Tensor) -> Tensor:
    """Alpha within [`LOG_VAR_MIN`, `LOG_VAR_MAX`], any shape."""
    return log_var.clamp(LOG_VAR_MIN, LOG_VAR_MAX)


def smooth_l1(pred: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 distance with its knee at 1, element by element.

    Args:
        pred: any shape.
        target: same shape.

    Returns:
        Same shape.
    """
    # s(e) = e^2 / 2 for |e| <= 1, |e| - 1/2 above
    return F.smooth_l1_loss(pred, target, reduction="none", beta=1.0)


def kl_box_loss(pred: Tensor, log_var: Tensor, target: Tensor) -> Tensor:
    """Box regression with uncertainty, mean over RoIs of the sum over the four corners.

    The Kullback-Leibler divergence between a Gaussian around the prediction and the target as a
    point, up to a constant. It may be negative: at its minimum over alpha it is
    log(2 s(e)) / 2 + 1/2, below 0 wherever s(e) < 0.184. With alpha = 0 it is `smooth_l1`.

    Args:
        pred: corner deltas [N, 4].
        log_var: alpha [N, 4], clamped here.
        target: corner deltas of the assigned boxes [N, 4].

    Returns:
        Scalar; 0 for N = 0, with gradients that are 0. Sampled RoIs on the background have no box
        and count as 0 in the paper's mean over sampled RoIs: the caller scales by their share.

    Source: He et al., "Bounding Box Regression with Uncertainty for Accurate Object Detection",
    CVPR 2019, Eq. (9) and (10).
    """
    # L = exp(-alpha) e^2 / 2 + alpha / 2            for |e| <= 1
    # L = exp(-alpha) (|e| - 1/2) + alpha / 2        above
    alpha = clamp_log_var(log_var)
    loss = torch.exp(-alpha) * smooth_l1(pred, target) + alpha / 2  # [N, 4]
    return loss.sum() / max(1, len(pred))


# ---------------------------------------------------------------- emotions


def emotion_bce(logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy over one-hot targets, mean over clips and emotions.

    Args:
        logits: [B, K].
        label: emotion indices [B] int64.

    Returns:
        Scalar.

    Source: Hussain et al., Eq. (1).
    """
    # L = -1/K sum_k [ y_k log s(z_k) + (1 - y_k) log(1 - s(z_k)) ]
    target = F.one_hot(label, logits.shape[1]).to(logits)
    return F.binary_cross_entropy_with_logits(logits, target)


def fusion_loss_weights(alpha: float, beta: float) -> dict[str, float]:
    """Weights of the named losses of the fused system; with both at 0 L_av alone is left.

    Args:
        alpha: weight of L_a, the audio branch's loss.
        beta: weight of L_v, the visual branch's loss, or the detector's where it is trained too.

    Source: Hussain et al., Eq. (4).
    """
    # L = L_av + alpha L_a + beta L_v
    return {"l_av": 1.0, "l_a": alpha, "l_v": beta}


def log_scores(logits: Tensor) -> Tensor:
    """Log p over the emotions for logits trained with `emotion_bce`, [B, K] -> [B, K].

    p_k is proportional to the sigmoid s(z_k) that Eq. (1) trains.
    """
    return F.log_softmax(F.logsigmoid(logits), dim=1)


def log_odds(logits: Tensor) -> Tensor:
    """Logits of a softmax as the logits that `log_scores` takes, [B, K] -> [B, K].

    s(z'_k) = softmax(z)_k, so that `log_scores` of it is the softmax's log p.
    """
    # z'_k = z_k - log sum_{j != k} exp(z_j)
    others = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    rivals = logits[:, None, :].masked_fill(others, -torch.inf).logsumexp(dim=2)  # [B, K]
    return logits - rivals


def polarity_consistent_ce(
    logits: Tensor, label: Tensor, polarity: Tensor, penalty: float
) -> Tensor:
    """Cross-entropy, raised where the best guess has the opposite polarity; mean over clips.

    Args:
        logits: of a softmax [B, K].
        label: emotion indices [B] int64.
        polarity: of the emotions [K]: 1, -1, or 0, which is never penalised.
        penalty: lambda >= 0; 0 leaves the cross-entropy.

    Returns:
        Scalar.

    Source: Zhao et al., "An End-to-End Visual-Audio Attention Network for Emotion Recognition in
    User-Generated Videos", AAAI 2020, Eq. (13). Neutral and calm have no polarity there.
    """
    # L = mean_i [ (1 + lambda [p(argmax z_i) p(y_i) = -1]) (-log softmax(z_i)_{y_i}) ]
    opposed = polarity[logits.argmax(dim=1)] * polarity[label] < 0
    return ((1 + penalty * opposed) * F.cross_entropy(logits, label, reduction="none")).mean()
