import pytest
import torch

from models.threads import pinned_threads


def test_the_number_of_threads_is_put_back_after_an_error_too():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), pinned_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
