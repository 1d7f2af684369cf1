import torch

from models.faces.frames import augment, corrupted

FACE = torch.tensor([[20.0, 10.0, 60.0, 50.0]])


def test_corruption_blurs_darkens_or_covers_a_part_of_the_face():
    torch.manual_seed(0)
    image = torch.rand(3, 64, 80)
    kinds = {"dark": 0, "covered": 0, "blurred": 0}
    for _ in range(300):
        found = corrupted(image, FACE)
        changed = (found != image).any(dim=0)
        ratio = found / image
        if torch.allclose(ratio, ratio[0, 0, 0].expand_as(ratio)):
            kinds["dark"] += 1
            assert 0.1 <= ratio[0, 0, 0] <= 0.6
        elif not changed[0, 0]:
            kinds["covered"] += 1
            rows, columns = changed.any(dim=1).nonzero()[:, 0], changed.any(dim=0).nonzero()[:, 0]
            assert rows.min() >= 10 and rows.max() < 50 and (found[:, changed] == 0.5).all()
            assert columns.min() >= 20 and columns.max() < 60
            assert 8 <= len(rows) <= 20 and 8 <= len(columns) <= 20
        else:
            kinds["blurred"] += 1
            assert found.std() < image.std() and found.min() >= 0 and found.max() <= 1
    assert min(kinds.values()) > 70


def test_corruption_of_a_small_frame_and_of_one_without_a_face():
    torch.manual_seed(0)
    for boxes in (FACE[:0], torch.tensor([[-5.0, -5.0, 400.0, 300.0]])):
        for _ in range(30):
            assert corrupted(torch.rand(3, 9, 12), boxes).shape == (3, 9, 12)


def test_the_share_of_images_that_is_corrupted():
    image, target = torch.full((3, 32, 32), 0.5), {"boxes": FACE / 2, "labels": torch.ones(1)}
    torch.manual_seed(1)
    plain = augment(image, target)[0]
    torch.manual_seed(1)
    assert torch.equal(augment(image, target, corrupt=0.0)[0], plain)  # draws nothing more
    dark = sum(augment(image, target, corrupt=0.6)[0].mean() < 0.34 for _ in range(500))
    assert 0.14 <= dark / 500 <= 0.26  # a third of the kinds darkens: below 0.5 - 0.15
