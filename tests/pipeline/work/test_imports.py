"""What is imported without the garbage collector."""

import gc

import pytest

from pipeline.work.imports import uncollected


def test_the_collector_rests_inside_and_comes_back_as_it_was():
    before = gc.get_freeze_count()
    try:
        with uncollected():
            with uncollected():
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_it_comes_back_after_an_error():
    try:
        with pytest.raises(ImportError), uncollected():
            raise ImportError
        assert gc.isenabled()
    finally:
        gc.unfreeze()
