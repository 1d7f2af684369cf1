import math

import torch

from models.losses import LOG_VAR_MAX, LOG_VAR_MIN, kl_box_loss, smooth_l1


def test_kl_box_loss_agrees_with_hand_computed_values_on_both_branches():
    pred = torch.tensor([[0.5, 3.0, 1.0, -2.0], [0.0, 0.0, 0.0, 0.0]])
    log_var = torch.tensor([[math.log(2), math.log(4), 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    first = (
        (0.125 / 2 + math.log(2) / 2)  # |e| = 0.5
        + (2.5 / 4 + math.log(4) / 2)  # |e| = 3
        + 0.5  # |e| = 1, the knee
        + (1.5 * math.e - 0.5)  # |e| = 2
    )
    loss = kl_box_loss(pred, log_var, torch.zeros(2, 4))
    torch.testing.assert_close(loss, torch.tensor(first / 2))


def test_kl_box_loss_reduces_to_smooth_l1_at_alpha_zero():
    pred, target = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0)) * 2
    expected = smooth_l1(pred, target).sum() / 9
    torch.testing.assert_close(kl_box_loss(pred, torch.zeros(9, 4), target), expected)


def test_kl_box_loss_is_smallest_where_the_variance_is_the_error():
    error = torch.full((1, 4), 0.3)
    alphas = torch.linspace(-4, 2, 601)
    losses = torch.stack([kl_box_loss(error, a.expand(1, 4), torch.zeros(1, 4)) for a in alphas])
    torch.testing.assert_close(alphas[losses.argmin()].exp(), torch.tensor(0.09), rtol=0.02, atol=0)
    assert losses.min() < 0  # normal, below the knee


def test_kl_box_loss_clamps_alpha():
    error = torch.full((1, 4), 0.5)
    for wild, edge in ((-1e4, LOG_VAR_MIN), (1e4, LOG_VAR_MAX)):
        wild_loss = kl_box_loss(error, torch.full((1, 4), wild), torch.zeros(1, 4))
        edge_loss = kl_box_loss(error, torch.full((1, 4), edge), torch.zeros(1, 4))
        torch.testing.assert_close(wild_loss, edge_loss)


def test_kl_box_loss_without_boxes_is_zero_and_differentiable():
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = kl_box_loss(pred, torch.zeros(0, 4), torch.zeros(0, 4))
    loss.backward()
    assert loss.item() == 0
