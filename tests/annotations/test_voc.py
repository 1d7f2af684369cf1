import os
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations import voc
from annotations.voc import Annotation, Box, FaceObject, Flags
from pipeline.errors import AnnotationError

WIDTH, HEIGHT = 320, 256
FACE = FaceObject(Box(99, 79, 199, 189), "anger", 1.25, "dlib_hog", True, Flags(blur=1, pose=1))
ONE_FACE = Annotation("DC_a01_00000.jpg", WIDTH, HEIGHT, (FACE,))

letters = st.characters(codec="utf-8", categories=("L", "N", "P", "Zs"))
words = st.text(letters, min_size=1).map(str.strip).filter(bool)
flags = st.builds(Flags, *[st.integers(0, 2)] * 6)


@st.composite
def boxes(draw):
    x1, y1 = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
    x2, y2 = draw(st.integers(x1 + 2, WIDTH)), draw(st.integers(y1 + 2, HEIGHT))
    return Box(x1, y1, x2, y2)


objects = st.builds(
    FaceObject,
    box=boxes(),
    emotion=words | st.just(""),
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    source=words | st.just(""),
    primary=st.booleans(),
    flags=flags,
    truncated=st.integers(0, 1),
    difficult=st.integers(0, 1),
    name=words,
    extra=st.lists(st.tuples(words.map("x-{}".format), words)).map(tuple),
)
annotations = st.builds(
    Annotation,
    filename=words.map(lambda word: f"{word.replace('/', '').replace(chr(92), '')}.jpg"),
    width_px=st.just(WIDTH),
    height_px=st.just(HEIGHT),
    objects=st.lists(objects, max_size=3).map(tuple),
    folder=words,
)


@pytest.fixture(scope="module")
def xml(tmp_path_factory):
    return tmp_path_factory.mktemp("voc") / "frame.xml"


@settings(max_examples=40, deadline=None)
@given(annotation=annotations)
def test_read_undoes_write_and_bytes_repeat(xml, annotation):
    voc.write(xml, annotation)
    content = xml.read_bytes()
    assert voc.read(xml) == annotation
    voc.write(xml, voc.read(xml))
    assert xml.read_bytes() == content


def test_file_meets_the_documented_needs_of_other_readers(xml):
    voc.write(xml, ONE_FACE)
    root = ElementTree.parse(xml).getroot()
    item = root.find("object")
    attributes = {a.findtext("name"): a.findtext("value") for a in item.iter("attribute")}
    assert root.findtext("folder") and root.findtext("size/depth") == "3"  # MMDetection, gluon-cv
    assert root.findtext("source/database") == "avemo"  # Everingham's own
    assert item.findtext("pose") == "Unspecified"  # gluon-cv
    assert item.findtext("truncated") == item.findtext("difficult") == "0"  # datumaro: 0 or 1 only
    assert item.findtext("blur") == attributes["blur"] == "1"
    assert attributes["pose"] == "1"
    assert {**attributes, "emotion": "anger", "source": "dlib_hog", "primary": "1"} == attributes


def edited(xml, old, new):
    voc.write(xml, ONE_FACE)
    text = xml.read_text(encoding="utf-8")
    assert old in text
    xml.write_text(text.replace(old, new), encoding="utf-8")
    return xml


@pytest.mark.parametrize(
    ("old", "new", "box"),
    [
        ("<xmin>100<", "<xmin>0<", Box(0, 79, 199, 189)),
        ("<xmax>199<", "<xmax>321<", Box(99, 79, 320, 189)),
        ("<ymin>80<", "<ymin>-7.5<", Box(99, 0, 199, 189)),
    ],
)
def test_box_that_leaves_the_image_is_clamped_with_a_warning(xml, caplog, old, new, box):
    assert voc.read(edited(xml, old, new)).objects[0].box == box
    assert str(xml) in caplog.text and "clamped" in caplog.text


def test_boxes_that_leave_the_image_are_told_of_once_a_file(tmp_path, caplog):
    xml = tmp_path / "many.xml"
    voc.write(xml, replace(ONE_FACE, objects=(FACE,) * 3))
    xml.write_text(xml.read_text().replace("<xmax>199<", "<xmax>999<"))
    assert voc.read(xml) == voc.read(xml)
    [record] = caplog.records
    assert "3 of 3 boxes leave the image of 320x256 px" in record.getMessage()


@pytest.mark.parametrize("text", [" 100.25 ", "+100.25", "1.0025e2", "\n100.25\t"])
def test_floats_are_read_as_the_whole_pixels_that_hold_them(xml, caplog, text):
    read = voc.read(edited(xml, "<xmin>100<", f"<xmin>{text}<"))
    assert read.objects[0].box == Box(99, 79, 199, 189)
    assert not caplog.records


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<xmin>100<", "<xmin>200<", "not a box"),
        ("<xmin>100<", "<xmin>nan<", "line 19: xmin: got 'nan', expected a number"),
        ("<xmin>100<", "<xmin>1_0<", "xmin: got '1_0', expected a number"),
        ("<xmin>100<", "<xmin>\u0661<", "xmin: got '\u0661', expected a number"),
        ("<xmin>100<", f"<xmin>{'9' * 9000}x<", f"xmin: got '{'9' * 57}...', expected"),
        ("<xmin>100<", "<xmin>1<b/>0<", "line 19: <xmin> holds <b>, expected plain text"),
        ("<xmin>100<", "<xmin>100</xmin><xmin>1<", "a second <bndbox/xmin>"),
        ("<xmax>199<", "<xmax>100<", "under 2 px wide or high"),
        ("<truncated>0<", "<truncated>0.5<", "truncated: got '0.5', expected a whole number"),
        ("<xmin>100<", "<xmin>left<", "xmin: got 'left', expected a number"),
        ("<xmin>100</xmin>", "", "<bndbox/xmin> is missing"),
        ("<ymax>189<", "<ymax>1e999<", "ymax: got '1e999'"),
        ("<width>320<", "<width>0<", "size is 0x256"),
        ("<width>320<", "<width>65536<", "size is 65536x256"),
        ("<width>320<", "<width>50<", "not a box"),
        ("<name>face</name>", "", "<name> is missing"),
        ("<filename>DC_a01_00000.jpg</filename>", "", "<filename> is missing"),
        (">DC_a01_00000.jpg<", ">../DC_a01_00000.jpg<", "expected a name without folders"),
        (">DC_a01_00000.jpg<", ">C:\\a.jpg<", "expected a name without folders"),
        (">DC_a01_00000.jpg<", ">..<", "expected a name without folders"),
        ("</annotation>", "", "not XML"),
        ("annotation>", "page>", "got <page>"),
    ],
)
def test_what_is_not_an_annotation_is_refused_by_name(xml, old, new, reason):
    with pytest.raises(AnnotationError) as caught:
        voc.read(edited(xml, old, new))
    assert str(xml) in str(caught.value) and reason in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.xml")
    (tmp_path / "loop.xml").symlink_to("loop.xml")
    (tmp_path / "empty.xml").write_bytes(b"")
    for name, reason in {
        "none.xml": "no such file",
        ".": "not a regular file",
        "fifo.xml": "not a regular file",
        "loop.xml": "cannot be read",
        "nul\0.xml": "cannot be read",
        "x" * 300 + ".xml": "cannot be read",
        "empty.xml": "not XML",
    }.items():
        with pytest.raises(AnnotationError, match=reason):
            voc.read(tmp_path / name)


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("<a/>" * 250_001, "more than 1000000 bytes"),
        ("<object/>" * 1000, "got 1001 objects, expected at most 1000"),
        ("<a>" * 1000 + "</a>" * 1000, "not XML"),
    ],
)
def test_what_would_take_hours_or_gigabytes_is_refused(xml, inside, reason):
    with pytest.raises(AnnotationError, match=reason):
        voc.read(edited(xml, "<segmented>", f"{inside}<segmented>"))


TAGS = ("annotation", "object", "name", "size", "width", "bndbox", "xmin", "attributes", "b")
pieces = st.sampled_from(
    [f"<{slash}{tag}>" for tag in TAGS for slash in ("", "/")]
    + ["<!--", "-->", "<?x ?>", "<![CDATA[", "]]>", "<!DOCTYPE a>", "&amp;", "&#0;", "&x;", "\0"]
    + [
        "1",
        "-1",
        "1e999",
        "face",
        "true",
        "\x85",
        "\ud800",
        "<a xmlns='b'/>",
        "<?xml version='1.1'?>",
    ]
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_give_an_annotation_or_an_error_of_ours(xml, data):
    """What is read can be written and is then read alike."""
    voc.write(xml, replace(ONE_FACE, objects=(FACE, FACE)))
    content = xml.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 40)))
        text = data.draw(st.lists(pieces, max_size=4).map("".join))
        raw = text.encode("utf-8", "surrogatepass") or data.draw(st.binary(max_size=8))
        content = content[:start] + raw + content[end:]
    xml.write_bytes(content)
    try:
        annotation = voc.read(xml)
    except AnnotationError as error:
        assert len(str(error)) < len(str(xml)) + 300
        return
    voc.write(xml, annotation)
    assert voc.read(xml) == annotation


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_noise_is_refused(xml, content):
    xml.write_bytes(content)
    with pytest.raises(AnnotationError):
        voc.read(xml)


side = st.floats(-5, 330).map(repr) | st.integers(-5, 330).map(str)


@settings(max_examples=60, deadline=None)
@given(corners=st.tuples(side, side, side, side))
def test_what_read_takes_write_takes_and_gives_back(xml, corners):
    voc.write(xml, ONE_FACE)
    text = xml.read_text()
    for old, new in zip(("xmin>100", "ymin>80", "xmax>199", "ymax>189"), corners, strict=True):
        text = text.replace(old, f"{old.split('>')[0]}>{new}")
    xml.write_text(text)
    try:
        annotation = voc.read(xml)
    except AnnotationError as error:
        assert "px" in str(error)
        return
    voc.write(xml, annotation)
    assert voc.read(xml) == annotation


def test_foreign_file_without_our_attributes_is_read(xml):
    xml.write_text(
        "<annotation><folder/><filename>a.jpg</filename><size><width>320</width>"
        "<height>256.0</height></size><object><name>face</name><pose>Left</pose><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>320</xmax><ymax>256</ymax></bndbox></object></annotation>"
    )
    [face] = voc.read(xml).objects
    assert face == FaceObject(Box(0, 0, WIDTH, HEIGHT))
    assert voc.read(xml).speaker_face == face


@pytest.mark.parametrize("name", ["Face", "FACE", " face\n"])
def test_the_class_is_ours_whatever_its_case_and_blanks(xml, caplog, name):
    annotation = voc.read(edited(xml, "<name>face</name>", f"<name>{name}</name>"))
    assert annotation.speaker_face.box == FACE.box and annotation.is_clear
    assert not caplog.records


def test_an_object_that_is_not_understood_is_told_of_once_and_is_no_background(tmp_path, caplog):
    xml = tmp_path / "cat.xml"
    voc.write(xml, replace(ONE_FACE, objects=(replace(FACE, name="cat"),) * 2))
    annotation = voc.read(xml)
    assert voc.read(xml) == annotation
    assert annotation.speaker_face is None and not annotation.is_clear
    [record] = caplog.records
    assert f"{xml}: 2 of 2 objects are not of class face, the first is 'cat'" in record.getMessage()
    assert replace(annotation, objects=()).is_clear
    assert replace(annotation, objects=(*annotation.objects, FACE)).is_clear
    assert not replace(annotation, objects=(replace(FACE, primary=False),)).is_clear


def test_an_annotation_of_another_picture_is_refused(tmp_path):
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir()
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "JPEGImages" / ONE_FACE.filename), picture)
    xml = tmp_path / "Annotations" / "DC_a01_00000.xml"
    voc.write(xml, ONE_FACE)
    assert voc.read_frame(tmp_path, "DC_a01_00000") == ONE_FACE
    for other, reason in {
        replace(ONE_FACE, filename="a.jpg"): "filename is 'a.jpg', the frame's is 'DC_a01_00000",
        replace(ONE_FACE, width_px=640): "size is 640x256 px, the frame's is 320x256 px",
    }.items():
        voc.write(xml, other)
        with pytest.raises(AnnotationError, match=reason):
            voc.read_frame(tmp_path, "DC_a01_00000")


def test_flag_pose_survives_a_round_through_datumaro(xml):
    """Its exporter moves the attribute `pose` into the element and drops our other elements."""
    edited(xml, "<pose>Unspecified<", "<pose>1<")
    text = xml.read_text().replace("<name>pose</name>", "<name>other</name>")
    xml.write_text(text.replace("<blur>1</blur>", ""))
    assert voc.read(xml).objects[0].flags == FACE.flags


@pytest.mark.parametrize(
    "dtd",
    [
        '<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE annotation SYSTEM "http://localhost:9/voc.dtd">',
        '<!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa">'
        + "".join(
            f'<!ENTITY {new} "{f"&{old};" * 10}">'
            for old, new in zip("abcdefghi", "bcdefghix", strict=True)
        )
        + "]>",
    ],
    ids=["external entity", "external DTD", "billion laughs"],
)
def test_dtds_and_entities_are_refused(xml, dtd):
    edited(xml, "<annotation>", f"{dtd}<annotation>")
    if "ENTITY" in dtd:
        xml.write_text(xml.read_text().replace("DC_a01_00000.jpg", "&x;"))
    with pytest.raises(AnnotationError, match=r"DTD|amplification"):
        voc.read(xml)


@pytest.mark.parametrize(
    ("box", "remedy"),
    [
        (Box(0.5, 0, 20, 20), "rounded"),
        (Box(0, 0, 1, 20), "under 2 px"),
        (Box(300, 0, 321, 20), "leaves the 320x256 image"),
    ],
)
def test_write_refuses_what_some_reader_would_refuse(xml, box, remedy):
    with pytest.raises(AnnotationError, match=remedy):
        voc.write(xml, replace(ONE_FACE, objects=(FaceObject(box),)))


@pytest.mark.parametrize(
    "change",
    [
        {"filename": "a/b.jpg"},
        {"filename": "a\0.jpg"},
        {"filename": " a.jpg"},
        {"folder": " "},
        {"objects": (replace(FACE, name=""),)},
        {"objects": (replace(FACE, score=float("inf")),)},
        {"objects": (replace(FACE, extra=(("score", "2"),)),)},
        {"objects": (FACE,) * 1001},
    ],
)
def test_write_refuses_what_read_would_not_give_back(xml, change):
    before = xml.read_bytes() if xml.exists() else None
    with pytest.raises(AnnotationError, match=r"frame\.xml: (cannot be written|would not be read)"):
        voc.write(xml, replace(ONE_FACE, **change))
    assert (xml.read_bytes() if xml.exists() else None) == before
