import torch
from torchvision.ops import box_iou

from models.faces.voting import nms_with_voting, vote


def test_vote_agrees_with_the_sum_written_out():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0]])
    log_var = torch.log(torch.tensor([[1.0, 1.0, 1.0, 1.0], [4.0, 4.0, 0.25, 4.0]]))
    p = torch.exp(torch.tensor(-((1 - 80 / 120) ** 2) / 0.05))  # IoU = 80 / 120
    x1 = (0 / 1 + p * 2 / 4) / (1 / 1 + p / 4)
    x2 = (10 / 1 + p * 12 / 0.25) / (1 / 1 + p / 0.25)
    voted, voted_log_var = vote(boxes[:1], boxes, log_var, sigma_t=0.05)
    torch.testing.assert_close(voted, torch.tensor([[x1, 0.0, x2, 10.0]]))
    sigma_x1 = (1 / 1 + p * 2 / 4) / (1 / 1 + p / 4)
    sigma_x2 = (1 / 1 + p * 0.5 / 0.25) / (1 / 1 + p / 0.25)
    torch.testing.assert_close(
        torch.exp(voted_log_var / 2)[0], torch.stack([sigma_x1, sigma_x1, sigma_x2, sigma_x1])
    )


def _voted_errors(shared, draws=4000):
    """Errors of a voted box and its stated sigma [draws, 4]; candidates err together or alone."""
    generator = torch.Generator().manual_seed(0)
    true = torch.tensor([40.0, 30.0, 140.0, 150.0])
    sigma = torch.rand(12, 4, generator=generator) + 0.5
    errors, stated = [], []
    for _ in range(draws):
        noise = torch.randn(1 if shared else 12, 4, generator=generator)
        boxes = true + sigma * noise
        voted, log_var = vote(boxes[:1], boxes, 2 * torch.log(sigma), sigma_t=0.02)
        errors.append(voted[0] - true)
        stated.append(torch.exp(log_var[0] / 2))
    return torch.stack(errors), torch.stack(stated)


def test_sigma_of_a_voted_box_is_that_of_candidates_that_err_together():
    errors, stated = _voted_errors(shared=True)
    torch.testing.assert_close((errors / stated).std(dim=0), torch.ones(4), rtol=0.05, atol=0)


def test_sigma_of_a_voted_box_is_never_too_small():
    errors, stated = _voted_errors(shared=False)
    assert ((errors / stated).std(dim=0) < 1).all()


def test_vote_leaves_a_single_box_and_far_boxes_alone():
    boxes = torch.tensor([[3.0, 4.0, 50.0, 60.0], [100.0, 100.0, 120.0, 130.0]])
    log_var = torch.tensor([[6.0] * 4, [-6.0] * 4])
    for count in (1, 2):
        voted = vote(boxes[:count], boxes[:count], log_var[:count], 0.02)
        torch.testing.assert_close(voted, (boxes[:count], log_var[:count]))


def test_vote_with_equal_variances_is_the_mean_weighted_by_overlap():
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [2.0, 1.0, 42.0, 44.0], [-3.0, 0.0, 39.0, 41.0]])
    log_var = torch.full((3, 4), 1.7)
    p = torch.exp(-((1 - box_iou(boxes[:1], boxes)[0]) ** 2) / 0.02)
    expected = (p[:, None] * boxes).sum(0, keepdim=True) / p.sum()
    torch.testing.assert_close(vote(boxes[:1], boxes, log_var, 0.02), (expected, log_var[:1]))


def test_vote_survives_extreme_variances():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 11.0, 11.0]])
    log_var = torch.tensor([[500.0] * 4, [-500.0] * 4])
    voted = vote(boxes[:1], boxes, log_var, 0.02)
    torch.testing.assert_close(voted, (boxes[1:], log_var[1:]))


def test_nms_without_candidates_is_empty():
    none = torch.zeros(0, 4)
    keep, kept, log_var = nms_with_voting(none, torch.zeros(0), none, nms_iou=0.5, sigma_t=0.02)
    assert (len(keep), kept.shape, log_var.shape) == (0, (0, 4), (0, 4))


def test_nms_with_voting_off_is_plain_nms():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [50.0, 50.0, 60.0, 60.0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    log_var = torch.arange(12.0).reshape(3, 4)
    keep, *kept = nms_with_voting(boxes, scores, log_var, nms_iou=0.5, sigma_t=None)
    assert keep.tolist() == [1, 2]
    torch.testing.assert_close(kept, [boxes[[1, 2]], log_var[[1, 2]]])
