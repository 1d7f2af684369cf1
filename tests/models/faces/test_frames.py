import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.faces.frames import augment, corrupted, mirror, sampled_frames
from pipeline.clips import evenly_spaced

FACE = torch.tensor([[20.0, 10.0, 60.0, 50.0]])


@given(
    st.integers(0, 200),
    st.integers(1, 20),
    st.sampled_from([12.5, 25, 29.97, 1000 / 33]),
    st.floats(0, 9),
)
def test_frames_of_a_constant_rate_are_sampled_by_their_number(frames, count, rate_hz, start_s):
    chosen = sampled_frames([start_s + index / rate_hz for index in range(frames)], count)
    assert chosen == evenly_spaced(frames, min(frames, count))


def test_sampled_frames_are_those_shown_in_the_middle_of_each_part():
    assert sampled_frames([n / 5 for n in range(8)], 2) == [2, 6]
    # a second of many frames, then three of few: parts of a second each
    times_s = [*np.arange(30) / 30, 1.0, 1.2, 3.8]
    assert sampled_frames(times_s, 4) == [14, 31]
    assert sampled_frames([*times_s[:-1], 3.4, 4.0], 4) == [15, 31, 32]


def test_mirrored_boxes_hold_the_same_pixels():
    image = torch.rand(3, 20, 30)
    target = {"boxes": torch.tensor([[4.0, 5.0, 11.0, 9.0]]), "labels": torch.tensor([1])}
    flipped, moved = mirror(image, target)
    x1, y1, x2, y2 = moved["boxes"][0].int().tolist()
    torch.testing.assert_close(flipped[:, y1:y2, x1:x2].flip(-1), image[:, 5:9, 4:11])
    torch.testing.assert_close(mirror(flipped, moved)[1]["boxes"], target["boxes"])


def test_augment_repeats_with_the_seed_and_stays_in_range():
    image = torch.rand(3, 20, 30)
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(augment(image, target)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert all(0 <= r.min() and r.max() <= 1 for r in results)


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
