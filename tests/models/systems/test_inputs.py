import pytest
import torch
from safetensors.torch import save_file

from models.systems.inputs import Store, expression_reader
from pipeline.errors import CorpusError
from pipeline.splits import Fold


def test_embeddings_of_faces_are_read_for_clips_without_an_emotion_too(tmp_path):
    store = Store((), tmp_path, tmp_path / "detector")
    store.face_embeddings.mkdir()
    path = store.face_embeddings / "f.safetensors"
    values = {"train": torch.ones(3, 2), "test": torch.ones(2, 2), "asked": torch.ones(1, 2)}
    save_file({f"{clip}/fer": value for clip, value in values.items()}, path)
    fold = Fold("f", ("train",), ("test",), ("asked",))
    read, widths = expression_reader(store, fold, ["fer"])
    assert widths == (2,)
    assert torch.equal(read("asked"), torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(CorpusError, match=r"f\.safetensors: lacks other/fer"):
        expression_reader(store, Fold("f", ("train",), ("other",), ()), ["fer"])
