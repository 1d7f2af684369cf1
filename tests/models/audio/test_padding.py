import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.audio.panns import GRID, SHORTEST, SHORTEST_PADDED, pad, padded_length
from pipeline.errors import MediaError


@given(st.integers(SHORTEST, 1_000_000))
def test_both_branches_have_the_same_frames_at_any_length(samples):
    length = padded_length(samples)
    assert length >= max(samples, SHORTEST_PADDED)
    assert length - samples < max(GRID, SHORTEST_PADDED)
    logmel = (length // 320 + 1) // 2
    wavegram = -(-length // 5) // 4 // 4 // 4 // 2
    assert logmel == wavegram
    assert logmel // 2 // 2 // 2 // 2 >= 1


def test_padding_adds_zeros_at_the_end_only():
    padded = pad(torch.ones(2, 10_241))
    assert padded.shape == (2, 10_880)
    assert padded[:, :10_241].min() == 1
    assert padded[:, 10_241:].abs().max() == 0


@pytest.mark.parametrize(
    ("samples", "padded"),
    [(3_200, 10_240), (10_240, 10_240), (10_241, 10_880), (64_000, 64_000), (320_001, 320_640)],
)
def test_padded_length_is_a_multiple_of_20_ms(samples, padded):
    assert padded_length(samples) == padded


def test_too_short_a_clip_is_refused():
    with pytest.raises(MediaError, match=r"1600 samples.*at least 3200"):
        padded_length(1_600)
