"""The table of systems and what makes them."""

import pytest

from models.systems.registry import ROWS_OF
from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError
from pipeline.params import read_params
from pipeline.systems import OURS, SYSTEMS, SystemSpec, readable


def test_every_system_is_made_and_nothing_else():
    assert list(ROWS_OF) == list(SYSTEMS)
    for rows_of in set(ROWS_OF.values()):
        assert set(rows_of()) == {name for name, its in ROWS_OF.items() if its is rows_of}


@pytest.mark.parametrize("spec", SYSTEMS.values(), ids=lambda spec: spec.name)
def test_what_a_system_reads_fits_its_modalities(spec: SystemSpec):
    reads = set(spec.reads)
    assert bool(reads & {"embeddings", "audio32k"}) == ("audio" in spec.modalities)
    assert bool(reads & {"voc", "face_features"}) == ("video" in spec.modalities)
    assert bool(spec.audio_networks(["Cnn14"], ["whisper_tiny_en"])) == ("embeddings" in reads)
    expected = "av" if len(spec.modalities) == 2 else {"audio": "audio", "video": "visual"}
    assert spec.branch == (expected if expected == "av" else expected[spec.modalities[0]])


def test_the_default_system_is_ours():
    assert read_params()["system"] == OURS


def test_a_system_reads_the_clips_that_have_what_it_needs():
    both, seen, heard = (
        ClipRecord(f"c{frames}{samples}", "S", "anger", "", frames, 25.0, 1, 8, 8, samples, 9)
        for frames, samples in ((1, 1), (1, 0), (0, 1))
    )
    records = [both, seen, heard]
    assert readable("av_cnn", records) == [both]
    assert readable("visual_cnn", records) == [both, seen]
    assert readable("audio_cnn", records) == [both, heard]
    with pytest.raises(
        CorpusError, match="needs sound and video, which none of 2 labelled clips has; use"
    ):
        readable("av_cnn", [seen, heard])
    with pytest.raises(CorpusError, match=r"system av_cnn needs video, .* use one of audio_cnn, "):
        readable("av_cnn", [heard])
