import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from annotations import voc
from pipeline.errors import AnnotationError
from stages.cli.corrections import app


@pytest.fixture
def avemo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/voc/JPEGImages").mkdir(parents=True)
    for name in ("a_00000", "a_00001"):
        voc.write(tmp_path / f"data/voc/Annotations/{name}.xml", voc.Annotation("a.jpg", 64, 48))
        picture = np.zeros((48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"data/voc/JPEGImages/{name}.jpg"), picture)

    def call(*arguments):
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    return call


def test_a_list_by_whatever_hand_is_exported(avemo, tmp_path):
    (tmp_path / "frames.txt").write_bytes(b"\xef\xbb\xbfa_00001.jpg\r\n\r\na_00001\r\n")
    assert avemo("export", "frames.txt", "out") == "out: 1 frame\n"
    assert [path.name for path in (tmp_path / "out/JPEGImages").iterdir()] == ["a_00001.jpg"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b""])
def test_what_is_no_list_is_refused(avemo, tmp_path, content):
    if content is not None:
        (tmp_path / "frames.txt").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"frames\.txt: not a readable|expected some of"):
        avemo("export", "frames.txt", "out")
    assert not (tmp_path / "out").exists()
