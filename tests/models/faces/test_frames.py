import torch
from hypothesis import given
from hypothesis import strategies as st

from models.faces.frames import augment, mirror, sampled_frames


@given(st.integers(0, 200), st.integers(1, 20))
def test_sampled_frames_frames_are_different_and_within_the_clip(frames, count):
    chosen = sampled_frames(frames, count)
    assert len(chosen) == min(frames, count)
    assert chosen == sorted(set(chosen))
    assert all(0 <= index < frames for index in chosen)


def test_sampled_frames_frames_are_centred_in_their_part():
    assert sampled_frames(8, 2) == [2, 6]
    assert sampled_frames(3, 8) == [0, 1, 2]


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
