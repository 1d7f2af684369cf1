import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.datasets import VOCDetection

from annotations import voc
from annotations.voc import Annotation, Box, FaceObject, Flags
from pipeline.errors import AnnotationError

WIDTH, HEIGHT = 320, 256
FACE = FaceObject(Box(99, 79, 199, 189), "anger", 1.25, "dlib_hog", True, Flags(blur=1, pose=1))
ONE_FACE = Annotation("DC_a01_00000.jpg", WIDTH, HEIGHT, (FACE,))

words = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1)
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
    filename=words,
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


@pytest.mark.parametrize("objects", [(), (FACE,), (FACE, replace(FACE, primary=False))])
def test_torchvision_reads_what_we_wrote(tmp_path, objects):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("DC_a01_00000\n")
    (root / "JPEGImages").mkdir()
    voc.write(root / "Annotations" / "DC_a01_00000.xml", replace(ONE_FACE, objects=objects))
    [annotation_file] = VOCDetection(tmp_path, "2012", "train").annotations
    tree = ElementTree.parse(annotation_file).getroot()
    read = VOCDetection.parse_voc_xml(tree)["annotation"]
    assert read["size"] == {"width": "320", "height": "256", "depth": "3"}
    assert [o["bndbox"] for o in read.get("object", [])] == [
        {"xmin": "100", "ymin": "80", "xmax": "199", "ymax": "189"} for _ in objects
    ]


def test_file_meets_the_documented_needs_of_other_readers(xml):
    voc.write(xml, ONE_FACE)
    root = ElementTree.parse(xml).getroot()
    item = root.find("object")
    attributes = {a.findtext("name"): a.findtext("value") for a in item.iter("attribute")}
    assert root.findtext("folder") and root.findtext("size/depth") == "3"  # MMDetection, gluon-cv
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


def test_floats_are_read_as_they_are(xml, caplog):
    read = voc.read(edited(xml, "<xmin>100<", "<xmin> 100.25 <"))
    assert read.objects[0].box == Box(99.25, 79, 199, 189)
    assert not caplog.records


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<xmin>100<", "<xmin>200<", "not a box"),
        ("<xmin>100<", "<xmin>nan<", "xmin: got 'nan', expected a number"),
        ("<xmin>100<", "<xmin>left<", "xmin: got 'left', expected a number"),
        ("<xmin>100</xmin>", "", "<bndbox/xmin> is missing"),
        ("<ymax>189<", "<ymax>1e999<", "ymax: got '1e999'"),
        ("<width>320<", "<width>0<", "size is 0x256"),
        ("<width>320<", "<width>50<", "not a box"),
        ("<name>face</name>", "", "<name> is missing"),
        ("<filename>DC_a01_00000.jpg</filename>", "", "<filename> is missing"),
        ("</annotation>", "", "not XML"),
        ("annotation>", "page>", "got <page>"),
    ],
)
def test_what_is_not_an_annotation_is_refused_by_name(xml, old, new, reason):
    with pytest.raises(AnnotationError) as caught:
        voc.read(edited(xml, old, new))
    assert str(xml) in str(caught.value) and reason in str(caught.value)


def test_missing_and_empty_files_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="no such file"):
        voc.read(tmp_path / "none.xml")
    (tmp_path / "empty.xml").write_bytes(b"")
    with pytest.raises(AnnotationError, match="not XML"):
        voc.read(tmp_path / "empty.xml")


def test_foreign_file_without_our_attributes_is_read(xml):
    xml.write_text(
        "<annotation><folder/><filename>a.jpg</filename><size><width>320</width>"
        "<height>256.0</height></size><object><name>face</name><pose>Left</pose><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>320</xmax><ymax>256</ymax></bndbox></object></annotation>"
    )
    [face] = voc.read(xml).objects
    assert face == FaceObject(Box(0, 0, WIDTH, HEIGHT))
    assert voc.read(xml).speaker_face == face


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
