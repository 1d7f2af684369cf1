"""FGSM and PGD against the closed form: on a linear loss the worst case is a corner of the ball."""

import pytest
import torch

from models.robustness.attacks import fgsm, pgd, slopes

WEIGHTS = {"sound": torch.tensor([2.0, -0.5, 0.1, -3.0]), "picture": torch.tensor([-1.0, 1.0])}
CLEAN = {"sound": torch.tensor([0.9, -2.0, 0.0, 0.3]), "picture": torch.tensor([0.02, 0.5])}
RADIUS = {"sound": 0.25, "picture": 0.1}
CORNER = {"sound": torch.tensor([1.15, -2.25, 0.25, 0.05]), "picture": torch.tensor([0.0, 0.6])}


def linear(inputs):
    return sum((values * WEIGHTS[name]).sum() for name, values in inputs.items())


@pytest.mark.parametrize("parts", [("sound",), ("picture",), ("sound", "picture")])
def test_on_a_linear_model_both_end_in_the_corner_of_the_ball(parts):
    clean = {name: CLEAN[name] for name in parts}
    one = fgsm(clean, slopes(linear, clean), RADIUS)
    many = pgd(linear, clean, RADIUS, 7, torch.Generator().manual_seed(0))
    assert one.keys() == many.keys() == set(parts)
    for name in parts:
        torch.testing.assert_close(one[name], CORNER[name])
        torch.testing.assert_close(many[name], CORNER[name])


def test_pgd_finds_what_one_step_oversteps_and_stays_within_the_radius():
    clean = {"sound": CLEAN["sound"]}

    def peaked(inputs):
        return -(inputs["sound"] - CLEAN["sound"] - 0.1).abs().sum()

    one = fgsm(clean, slopes(peaked, clean), {"sound": 0.3})
    many = pgd(peaked, clean, {"sound": 0.3}, 40, torch.Generator().manual_seed(0))
    assert peaked(many) > peaked(one)
    assert (many["sound"] - CLEAN["sound"]).abs().max() <= 0.3 + 1e-6


def test_the_same_generator_gives_the_same_attack():
    one, other = (pgd(linear, CLEAN, RADIUS, 2, torch.Generator().manual_seed(3)) for _ in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)
