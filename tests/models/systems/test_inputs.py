import pytest
import torch
from safetensors.torch import save_file

from models.systems.inputs import (
    ClipSet,
    Store,
    expression_reader,
    face_readers,
    without_face,
)
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


def test_clips_without_a_face_are_known_by_what_their_system_reads():
    plain = torch.tensor([0.2, 0.1, 0.3])[:, None, None].expand(2, 3, 4, 4)
    tables = {
        "weights": [torch.zeros(2), torch.tensor([0.0, 0.1])],
        "crops": [plain, plain + torch.rand(2, 3, 4, 4)],
        "crops of a frozen trunk": [torch.ones(2, 5), torch.ones(2, 5)],
        "audio": [torch.ones(3), torch.ones(3)],
    }
    for name, values in tables.items():
        table = dict(zip("ab", values, strict=True))
        clips = ClipSet(("a", "b"), {"a": 0, "b": 1}, {name.split()[0]: table.__getitem__})
        assert without_face(clips).tolist() == [name in ("weights", "crops"), False], name


def test_faces_and_expressions_of_a_fold_are_as_long_whatever_else_its_detector_looked_at(tmp_path):
    store = Store((), tmp_path, tmp_path / "detector")
    store.face_embeddings.mkdir()
    store.faces.mkdir()
    speech, faces, expressions = "clip_id,frame,speech\n", {}, {}
    for clip, frames in (("a", 3), ("b", 2), ("elsewhere", 5)):
        faces[f"{clip}/features"], faces[f"{clip}/scores"] = (
            torch.ones(frames, 4),
            torch.ones(frames),
        )
        faces[f"{clip}/frames"] = torch.arange(frames)
        expressions[f"{clip}/fer"] = torch.ones(frames, 6)
        speech += "".join(f"{clip},{frame},0.5\n" for frame in range(frames))
    store.speech.write_text(speech)
    save_file(faces, store.faces / "f.safetensors")
    save_file(expressions, store.face_embeddings / "f.safetensors")
    fold = Fold("f", ("a",), ("b",))
    readers, _ = face_readers(store, fold, 0.1)
    readers["expressions"], _ = expression_reader(store, fold, ["fer"])
    assert {name: len(read("b")) for name, read in readers.items()} == dict.fromkeys(readers, 3)
