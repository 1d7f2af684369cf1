import logging

import cv2
import numpy as np
import pytest

from annotations import voc
from annotations.corrections import find_corrections, require_unedited, split_frame_name
from annotations.voc import Annotation, Box, FaceObject, Flags
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import AnnotationError
from pipeline.files import EMPTY_NOTE, file_digest, replace_folder

SIZE_PX = (64, 48)
FACE = FaceObject(Box(10, 10, 30, 30), primary=True)


def record(frames=4, frame_step=2):
    return ClipRecord("DC_a_01", "DC", "anger", "", frames, 25.0, frame_step, *SIZE_PX, 0, 0)


@pytest.fixture
def folders(tmp_path):
    """Folders of corrections and of images."""
    (tmp_path / "images").mkdir()
    for index in range(4):
        path = tmp_path / "images" / f"{frame_name('DC_a_01', index)}.jpg"
        cv2.imwrite(str(path), np.zeros((*SIZE_PX[::-1], 3), np.uint8))
    return tmp_path / "corrections", tmp_path / "images"


def put(folder, name="DC_a_01_00002", source_frame=None, size=SIZE_PX, filename=""):
    annotation = Annotation(filename or f"{name}.jpg", *size, (FACE,), source_frame=source_frame)
    voc.write(folder / f"{name}.xml", annotation)
    return folder / f"{name}.xml"


def test_without_corrections_there_are_none(folders):
    assert find_corrections(folders[0], [record()], folders[1]) == {}


@pytest.mark.parametrize(
    ("source_frame", "frame_step", "index"),
    [(None, 2, 2), (4, 2, 2), (4, 4, 1), (4, 1, None), (4, 3, None), (None, 9, 2)],
)
def test_a_correction_stays_with_the_frame_of_the_recording(
    folders, caplog, source_frame, frame_step, index
):
    path = put(folders[0], source_frame=source_frame)
    found = find_corrections(folders[0], [record(4, frame_step)], folders[1])
    assert found == ({} if index is None else {"DC_a_01": {index: path}})
    assert ("no frame is stored of 1 of 1 correction: " in caplog.text) == (not found)
    assert (str(path) in caplog.text) == (not found)


@pytest.mark.parametrize("name", ["DC_a_01_00009", "KL_a_01_00000", "notes", "DC_a_01_2"])
def test_one_of_a_frame_that_is_no_longer_there_is_told_of_and_stops_nothing(folders, caplog, name):
    caplog.set_level(logging.WARNING)
    put(folders[0] / "DC", name)
    kept = put(folders[0])
    assert find_corrections(folders[0], [record()], folders[1]) == {"DC_a_01": {2: kept}}
    assert "1 of 2 corrections" in caplog.text and f"{name}.xml; delete it" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": (128, 96)}, r"00002\.xml: size is 128x96 px, the frame's is 64x48"),
        ({"filename": "b.jpg"}, r"00002\.xml: speaks of b\.jpg; name file and <filename> after"),
    ],
)
def test_one_of_another_picture_is_refused(folders, change, reason):
    put(folders[0], **change)
    with pytest.raises(AnnotationError, match=reason):
        find_corrections(folders[0], [record()], folders[1])


def test_a_box_outside_and_a_second_one_of_a_frame_are_refused(folders):
    path = put(folders[0])
    path.write_text(path.read_text().replace("<xmin>11<", "<xmin>700<"))
    with pytest.raises(AnnotationError, match=r"00002\.xml: line \d+: .*not a box; correct"):
        find_corrections(folders[0], [record()], folders[1])
    path = put(folders[0])
    put(folders[0] / "again")
    with pytest.raises(AnnotationError, match=r"corrects frame 2 of DC_a_01, as .*; delete"):
        find_corrections(folders[0], [record()], folders[1])


@pytest.mark.parametrize(("name", "parts"), [("a_b_00012", ("a_b", 12)), ("a_12", ("a_12", -1))])
def test_the_name_of_a_frame_falls_into_clip_and_number(name, parts):
    assert split_frame_name(name) == parts


def test_an_invalid_face_is_neither_learned_from_nor_background():
    invalid = FaceObject(Box(10, 10, 30, 30), flags=Flags(invalid=1))
    annotation = Annotation("a.jpg", *SIZE_PX, (invalid,))
    assert annotation.speaker_face is None and not annotation.is_clear
    assert Annotation("a.jpg", *SIZE_PX, (invalid, FACE)).speaker_face == FACE


def test_the_note_in_an_empty_product_is_not_an_edit(tmp_path):
    """Sound alone has no frames: a second run is not refused."""
    with replace_folder(tmp_path / "Annotations"):
        pass
    note = tmp_path / "Annotations" / EMPTY_NOTE
    checksums = tmp_path / "SHA256SUMS"
    checksums.write_text(f"{file_digest(note)}  Annotations/{EMPTY_NOTE}\n")
    require_unedited(tmp_path / "Annotations", checksums)
