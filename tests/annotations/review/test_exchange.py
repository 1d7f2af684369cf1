"""Out to a tool and back, by labelImg's own module and by datumaro, by which CVAT writes.

`pip install avemo[readers]` brings both.
"""

import json
import re
import shutil
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
from annotate_params import PARAMS

from annotations import voc
from annotations.faces.annotate import annotate_corpus
from annotations.image_sets import write_image_sets
from annotations.review.exchange import export_frames, import_corrections, merged
from annotations.voc import Annotation, Box, FaceObject, Flags
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import AnnotationError
from pipeline.files import write_checksums

RECORDS = [ClipRecord("DC_a01", "DC", "anger", "1", 3, 25.0, 2, 320, 256, 0, 0)]
NAMES = [frame_name("DC_a01", index) for index in range(3)]

FACE = FaceObject(Box(100, 80, 200, 180), "anger", 1.25, "dlib_hog", True, extra=(("seen", "2"),))
OTHER = FaceObject(Box(10, 10, 60, 60), "anger", 0.5, "dlib_hog", False, Flags(blur=1))
OURS = Annotation("DC_a01_00001.jpg", 320, 256, (FACE, OTHER), source_frame=2)


def bare(item, *, dx=0.0, **changes):
    """A box as labelImg leaves it: without attributes, and shifted by `dx` px."""
    box = Box(item.box.x1 + dx, item.box.y1, item.box.x2 + dx, item.box.y2)
    return FaceObject(box, **changes)


def back(*objects, **changes):
    """An annotation as a tool leaves it."""
    return Annotation("DC_a01_00001.jpg", 320, 256, objects, **changes)


NOT_INSTALLED = "not installed; pip install avemo[readers]"


@pytest.mark.parametrize("dx", [0, 1, -1])
def test_what_a_tool_drops_or_rounds_is_no_change(dx):
    assert merged(back(bare(OTHER, dx=dx), bare(FACE, dx=dx)), OURS, "anger") == OURS


def test_a_moved_box_is_a_persons_and_keeps_whose_face_it_is():
    right = merged(back(bare(FACE, dx=20), bare(OTHER)), OURS, "anger")
    moved = replace(FACE, box=bare(FACE, dx=20).box, score=None, source="person")
    assert right == replace(OURS, objects=(moved, OTHER))


def test_flags_and_the_seal_of_labelimg_are_meant():
    right = merged(back(bare(FACE, difficult=1), bare(OTHER), verified=True), OURS, "anger")
    assert right == replace(OURS, objects=(replace(FACE, difficult=1), OTHER), verified=True)
    stated = replace(FACE, flags=Flags(invalid=1))
    assert merged(back(stated, OTHER), OURS, "anger").objects == (stated, OTHER)


def test_the_speaker_drawn_anew_is_the_speaker():
    drawn = Box(210, 80, 300, 170)
    right = merged(back(FaceObject(drawn), bare(OTHER)), OURS, "anger")
    new = FaceObject(drawn, "anger", None, "person", primary=True)
    assert right.objects == (OTHER, new)
    beside = merged(back(bare(FACE), bare(OTHER), FaceObject(drawn)), OURS, "anger")
    assert beside.objects == (FACE, OTHER, replace(new, primary=False))


def test_where_the_speakers_face_was_none_another_is_the_speakers():
    drawn = Box(210, 80, 300, 170)
    alone = merged(back(bare(OTHER)), OURS, "anger")
    assert alone.objects == (replace(OTHER, primary=True),), "labelImg drops whose face it is"
    none = replace(FACE, flags=Flags(invalid=1))
    right = merged(back(none, FaceObject(drawn, primary=False)), OURS, "anger")
    new = FaceObject(drawn, "anger", None, "person", primary=True)
    assert right.objects == (replace(none, primary=False), new)
    large = FaceObject(Box(0, 0, 320, 256), flags=Flags(invalid=1))
    beside = merged(back(large, FaceObject(drawn)), OURS, "anger")
    assert [item.primary for item in beside.objects] == [False, True]


def test_an_annotation_of_a_resized_picture_is_refused():
    with pytest.raises(AnnotationError, match="came back at 640x256 px, went out at 320x256"):
        merged(replace(back(), width_px=640), OURS, "anger")


@pytest.fixture(scope="module")
def made(tmp_path_factory, take):
    """`data/voc` of a drawn clip, the second frame of which shows no face."""
    root = tmp_path_factory.mktemp("exchange")
    store = root / "voc"
    (store / "JPEGImages").mkdir(parents=True)
    pictures = [take.frames[0], np.full_like(take.frames[0], 127), take.frames[9]]
    for name, picture in zip(NAMES, pictures, strict=True):
        cv2.imwrite(str(store / f"JPEGImages/{name}.jpg"), picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVEMO_CACHE", str(root / "cache"))
        patch.setenv("AVEMO_WORKERS", "1")
        images, annotations = store / "JPEGImages", store / "Annotations"
        annotate_corpus(RECORDS, images, root / "none", annotations, PARAMS)
    write_image_sets(store / "ImageSets", RECORDS, [])
    return root


@pytest.fixture
def store(made, tmp_path, monkeypatch):
    monkeypatch.setenv("AVEMO_CACHE", str(made / "cache"))
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    return shutil.copytree(made / "voc", tmp_path / "data" / "voc")


def take_back(store, source):
    return import_corrections(source, store, store.parent / "corrections", RECORDS, PARAMS)


def corrected(store):
    folder = store.parent / "corrections"
    return {path.stem: voc.read(path) for path in sorted(folder.glob("*.xml"))}


def edit(path, **changes):
    annotation = voc.read(path)
    [face] = annotation.objects
    voc.write(path, replace(annotation, objects=(replace(face, **changes),)))
    return annotation


def test_out_and_back_is_no_correction(store):
    export_frames(NAMES, store, store.parent / "out.zip")
    found = take_back(store, store.parent / "out.zip")
    assert (found.changes, found.same, found.strays, corrected(store)) == ({}, 3, [], {})


def test_an_export_holds_what_labelimg_and_cvat_ask_for(store):
    export_frames(NAMES[:1], store, store.parent / "out")
    files = {str(p.relative_to(store.parent / "out")) for p in (store.parent / "out").rglob("*.*")}
    assert files == {
        "JPEGImages/DC_a01_00000.jpg", "Annotations/DC_a01_00000.xml", "classes.txt",
        "ImageSets/Main/default.txt", "labelmap.txt", "cvat_labels.json",
    }  # fmt: skip
    [label] = json.loads((store.parent / "out/cvat_labels.json").read_text())
    named = {attribute["name"] for attribute in label["attributes"]}
    assert label["name"] == "face" and named >= {"primary", "emotion", "source", "invalid"}
    with pytest.raises(AnnotationError, match="is there already"):
        export_frames(NAMES[:1], store, store.parent / "out")
    with pytest.raises(AnnotationError, match="1 of no stored frame, the first is x"):
        export_frames(["x"], store, store.parent / "other")


def test_edits_in_place_are_kept_and_the_product_may_be_made_again(store):
    (store / "SHA256SUMS").write_text("")
    before = edit(store / f"Annotations/{NAMES[2]}.xml", flags=Flags(invalid=1))
    (store / f"Annotations/{NAMES[0]}.xml").unlink()
    found = take_back(store, store)
    assert found.changes == {NAMES[0]: "no face", NAMES[2]: "1 with other attributes"}
    kept = corrected(store)
    assert kept[NAMES[0]].objects == () and kept[NAMES[0]].source_frame == 0
    assert kept[NAMES[2]].objects == (replace(before.objects[0], flags=Flags(invalid=1)),)
    assert not (store / "SHA256SUMS").exists()
    assert take_back(store, store).changes == {}, "what is corrected already is no change"


def test_of_files_edited_in_place_those_alone_are_kept_that_annotate_did_not_write(store):
    write_checksums(store / "SHA256SUMS", [store / "Annotations"])
    path = store / f"Annotations/{NAMES[2]}.xml"
    edit(path, emotion="joy")
    (store / f"Annotations/{NAMES[0]}.xml").unlink()
    (store / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    (store / "ImageSets/Main/train.txt").write_text("".join(f"{name}\n" for name in NAMES))
    with pytest.raises(AnnotationError, match=r"frame 4 of the recording, .* is now frame 12"):
        import_corrections(
            store, store, store.parent / "kept", [replace(RECORDS[0], frame_step=6)], PARAMS
        )
    other = [replace(RECORDS[0], emotion="fear")]  # nor what follows from other params
    found = import_corrections(store, store, store.parent / "kept", other, PARAMS)
    assert found.changes.keys() == {NAMES[0], NAMES[2]} and found.same == 0


def test_a_correction_made_at_another_frame_step_is_not_overwritten(store):
    """Stored frame 2 of every second one was frame 1 of every fourth."""
    older = store.parent / "corrections" / f"{NAMES[1]}.xml"
    voc.write(older, replace(OURS, filename=f"{NAMES[1]}.jpg", source_frame=4))
    content = older.read_bytes()
    out = shutil.copytree(store, store.parent / "out")
    annotation = voc.read(out / f"Annotations/{NAMES[1]}.xml")
    voc.write(out / f"Annotations/{NAMES[1]}.xml", replace(annotation, verified=True))
    (out / f"Annotations/{NAMES[2]}.xml").unlink()
    assert take_back(store, out).changes == {NAMES[1]: "verified", NAMES[2]: "no face"}
    new = store.parent / "corrections" / "frame_step_2" / f"{NAMES[1]}.xml"
    assert voc.read(new).source_frame == 2 and voc.read(older).source_frame == 4
    assert older.read_bytes() != content, "stored frame 2 is its frame"


def test_names_of_label_studio_are_understood_and_strangers_are_told_of(store):
    out = store.parent / "out" / "Annotations"
    out.mkdir(parents=True)
    annotation = voc.read(store / f"Annotations/{NAMES[0]}.xml")
    for name in (f"1a2b3c4d-{NAMES[0]}", "holiday"):
        voc.write(out / f"{name}.xml", replace(annotation, filename=f"{name}.jpg", objects=()))
    found = take_back(store, out.parent)
    assert found.changes == {NAMES[0]: "no face"}
    assert found.strays == [f"{out.parent}/Annotations/holiday.xml"]


def test_one_bad_file_and_nothing_is_imported(store):
    out = shutil.copytree(store, store.parent / "out")
    edit(out / f"Annotations/{NAMES[0]}.xml", difficult=1)
    (out / f"Annotations/{NAMES[2]}.xml").write_text("<annotation>")
    shutil.make_archive(str(out), "zip", out)
    for source in (out, out.with_suffix(".zip")):
        shown = re.escape(f"{source}/Annotations/{NAMES[2]}.xml: line 1: not XML")
        with pytest.raises(AnnotationError, match=shown):
            take_back(store, source)
    assert corrected(store) == {}


def test_what_holds_no_annotation_is_refused(store):
    (store.parent / "empty").mkdir()
    (store.parent / "bad.zip").write_bytes(b"PK")
    with zipfile.ZipFile(store.parent / "large.zip", "w") as archive:
        archive.writestr("Annotations/a.xml", " " * (voc.MAX_BYTES + 1))
    for name, reason in {
        "none": "neither a folder nor a readable .zip",
        "bad.zip": "neither a folder nor a readable .zip",
        "empty": "no annotation of a stored frame",
        "large.zip": "Annotations/a.xml: too large",
    }.items():
        with pytest.raises(AnnotationError, match=reason):
            take_back(store, store.parent / name)


def test_a_round_through_labelimg_keeps_what_it_drops(store):
    """It drops attributes, says of itself what is truncated, and seals what a person has seen."""
    labelimg = pytest.importorskip("libs.pascal_voc_io", reason=NOT_INSTALLED)
    path = store / f"Annotations/{NAMES[2]}.xml"
    edit(path, box=Box(0, 0, 320, 256), score=None)
    take_back(store, store)
    out = store.parent / "out"
    export_frames(NAMES[1:], store, out)
    for name in NAMES[1:]:
        path = out / f"Annotations/{name}.xml"
        writer = labelimg.PascalVocWriter("JPEGImages", f"{name}.jpg", (256, 320, 3))
        for label, points, _, _, difficult in labelimg.PascalVocReader(str(path)).get_shapes():
            writer.add_bnd_box(*points[0], *points[2], label, difficult)
        writer.verified = name == NAMES[1]
        writer.save(str(path))
    assert "<truncated>1<" in path.read_text()
    found = take_back(store, out)
    assert (found.changes, found.same) == ({NAMES[1]: "verified"}, 1)


def test_a_round_through_datumaro_keeps_what_it_drops(store):
    """It writes no XML for a frame without a box, but names it in a list."""
    components = pytest.importorskip("datumaro.components.dataset", reason=NOT_INSTALLED)
    export_frames(NAMES, store, store.parent / "out")
    mode = {"coordinate_mode": "voc-one-based"}
    dataset = components.Dataset.import_from(str(store.parent / "out"), "voc_detection", **mode)
    dataset.export(str(store.parent / "same"), "voc_detection", save_media=False, **mode)
    assert not (store.parent / "same/Annotations" / f"{NAMES[1]}.xml").exists()
    assert take_back(store, store.parent / "same").changes == {}
    for item in list(dataset):
        dataset.put(item.wrap(annotations=[]) if item.id == NAMES[2] else item)
    dataset.export(str(store.parent / "changed"), "voc_detection", save_media=False, **mode)
    assert take_back(store, store.parent / "changed").changes == {NAMES[2]: "no face"}
    assert corrected(store)[NAMES[2]].objects == ()
