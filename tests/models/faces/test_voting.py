import torch
from torchvision.ops import box_iou

from models.faces.voting import nms_with_voting, vote


def test_vote_agrees_with_the_sum_written_out():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0]])
    log_var = torch.log(torch.tensor([[1.0, 1.0, 1.0, 1.0], [4.0, 4.0, 0.25, 4.0]]))
    p = torch.exp(torch.tensor(-((1 - 80 / 120) ** 2) / 0.05))  # IoU = 80 / 120
    x1 = (0 / 1 + p * 2 / 4) / (1 / 1 + p / 4)
    x2 = (10 / 1 + p * 12 / 0.25) / (1 / 1 + p / 0.25)
    voted = vote(boxes[:1], boxes, log_var, sigma_t=0.05)
    torch.testing.assert_close(voted, torch.tensor([[x1, 0.0, x2, 10.0]]))


def test_vote_without_boxes_is_empty():
    none = torch.zeros(0, 4)
    assert vote(none, none, none, sigma_t=0.02).shape == (0, 4)


def test_vote_leaves_a_single_box_and_far_boxes_alone():
    boxes = torch.tensor([[3.0, 4.0, 50.0, 60.0], [100.0, 100.0, 120.0, 130.0]])
    log_var = torch.tensor([[6.0] * 4, [-6.0] * 4])
    torch.testing.assert_close(vote(boxes[:1], boxes[:1], log_var[:1], 0.02), boxes[:1])
    torch.testing.assert_close(vote(boxes, boxes, log_var, 0.02), boxes)


def test_vote_with_equal_variances_is_the_mean_weighted_by_overlap():
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [2.0, 1.0, 42.0, 44.0], [-3.0, 0.0, 39.0, 41.0]])
    p = torch.exp(-((1 - box_iou(boxes[:1], boxes)[0]) ** 2) / 0.02)
    expected = (p[:, None] * boxes).sum(0, keepdim=True) / p.sum()
    torch.testing.assert_close(vote(boxes[:1], boxes, torch.full((3, 4), 1.7), 0.02), expected)


def test_vote_survives_extreme_variances():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 11.0, 11.0]])
    log_var = torch.tensor([[500.0] * 4, [-500.0] * 4])
    assert vote(boxes[:1], boxes, log_var, 0.02).isfinite().all()


def test_nms_with_voting_off_is_plain_nms():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [50.0, 50.0, 60.0, 60.0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    keep, kept = nms_with_voting(boxes, scores, torch.zeros(3, 4), nms_iou=0.5, sigma_t=None)
    assert keep.tolist() == [1, 2]
    torch.testing.assert_close(kept, boxes[[1, 2]])
