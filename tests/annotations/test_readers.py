"""The folder that `annotate` writes, opened by those for whom it is written.

`pip install avemo[readers]` brings the readers that the project itself does not need.
"""

import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
from annotate_params import PARAMS

from annotations import voc
from annotations.faces.annotate import annotate_corpus
from annotations.image_sets import write_image_sets
from annotations.labels import write_labelmap
from annotations.voc import Box
from pipeline.clips import ClipRecord, frame_name
from pipeline.splits import Fold

CORNERS = ("xmin", "ymin", "xmax", "ymax")
REASON = "not installed; pip install avemo[readers]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, take):
    """`data/voc` of two drawn clips; the second frame of each shows no face."""
    root = tmp_path_factory.mktemp("readers") / "voc"
    (root / "JPEGImages").mkdir(parents=True)
    pictures = [take.frames[0], np.full_like(take.frames[0], 127), take.frames[9]]
    clips = ("DC_a01", "JE_a01")
    records = [ClipRecord(c, c[:2], "anger", "1", 3, 25.0, 1, 320, 256, 0, 0) for c in clips]
    for clip_id in clips:
        for index, picture in enumerate(pictures):
            cv2.imwrite(str(root / f"JPEGImages/{frame_name(clip_id, index)}.jpg"), picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVEMO_CACHE", str(root.parent / "cache"))
        patch.setenv("AVEMO_WORKERS", "1")
        annotate_corpus(records, root / "JPEGImages", root / "none", root / "Annotations", PARAMS)
    write_image_sets(root / "ImageSets", records, [Fold("paper", clips[:1], clips[1:])])
    write_labelmap(root / "labelmap.txt")
    return root


@pytest.fixture(scope="module")
def boxes(folder):
    """What the reader of our own finds, by frame."""
    names = sorted(path.stem for path in (folder / "JPEGImages").iterdir())
    found = {
        name: [(item.name, item.box) for item in voc.read_frame(folder, name).objects]
        for name in names
    }
    assert [len(faces) for faces in found.values()] == [1, 0, 1, 1, 0, 1]
    return found


def test_torchvision_reads_it(folder, boxes, tmp_path):
    datasets = pytest.importorskip("torchvision.datasets", reason=REASON)
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2012").symlink_to(folder)
    read = {}
    for image, target in datasets.VOCDetection(tmp_path, "2012", "train"):
        annotation = target["annotation"]
        width, height = map(str, image.size)
        assert annotation["size"] == {"width": width, "height": height, "depth": "3"}
        assert annotation["source"]["database"] == "avemo"
        read[annotation["filename"].removesuffix(".jpg")] = [
            (item["name"], one_based(item["bndbox"])) for item in annotation.get("object", [])
        ]
    assert read == {name: faces for name, faces in boxes.items() if name.startswith("DC")}


def one_based(bndbox):
    """A box of corners as they stand in the file."""
    return Box.from_voc(*(float(bndbox[corner]) for corner in CORNERS))


def test_supervision_reads_it(folder, boxes):
    """It subtracts 1 from the two first corners itself, as we do."""
    supervision = pytest.importorskip("supervision", reason=REASON)
    dataset = supervision.DetectionDataset.from_pascal_voc(
        str(folder / "JPEGImages"), str(folder / "Annotations")
    )
    read = {
        path.rsplit("/", 1)[1].removesuffix(".jpg"): [
            (dataset.classes[label], Box(*corners))
            for label, corners in zip(found.class_id, found.xyxy.tolist(), strict=True)
        ]
        for path, _, found in dataset
    }
    assert read == boxes


@pytest.mark.filterwarnings(
    "ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_pylabel_reads_it(folder, boxes):
    """It keeps the file's corners and leaves out frames without a box."""
    importer = pytest.importorskip("pylabel.importer", reason=REASON)
    table = importer.ImportVOC(str(folder / "Annotations"), str(folder / "JPEGImages")).df
    read = {name: [] for name, faces in boxes.items() if not faces}
    for _, row in table.iterrows():
        corners = {side: row[f"ann_bbox_{side}"] for side in CORNERS}
        name = row["img_filename"].removesuffix(".jpg")
        read.setdefault(name, []).append((row["cat_name"], one_based(corners)))
    assert read == boxes


def test_datumaro_reads_it(folder, boxes):
    """CVAT imports by it: attributes, and each frame once, from the lists of the first fold."""
    components = pytest.importorskip("datumaro.components.dataset", reason=REASON)
    dataset = components.Dataset.import_from(
        str(folder), "voc_detection", coordinate_mode="voc-one-based"
    )
    names = dataset.categories()[1]
    read = {}
    for item in dataset:
        assert item.id not in read
        assert item.subset == ("train" if item.id.startswith("DC") else "test")
        for found in item.annotations:
            stated = {"emotion": "anger", "primary": "1", "source": "dlib_hog", "invalid": "0"}
            assert found.attributes == {**found.attributes, **stated}
        read[item.id] = [
            (names[found.label].name, Box(*found.points)) for found in item.annotations
        ]
    assert read == boxes


def test_labelimg_reads_it(folder, boxes):
    reader = pytest.importorskip("libs.pascal_voc_io", reason=REASON).PascalVocReader
    for name, faces in boxes.items():
        shapes = reader(str(folder / f"Annotations/{name}.xml")).get_shapes()
        read = [(shape[0], Box.from_voc(*shape[1][0], *shape[1][2])) for shape in shapes]
        assert read == faces


def test_mmdetection_reads_it_by_its_rules(folder, boxes):
    """`XMLDataset` takes 1 from all corners, so that its last column is inside the box."""
    for name, faces in boxes.items():
        root = ElementTree.parse(folder / f"Annotations/{name}.xml").getroot()
        size = root.find("size")
        assert (int(size.find("width").text), int(size.find("height").text)) == (320, 256)
        read = []
        for item in root.findall("object"):
            corners = [int(float(item.find("bndbox").find(c).text)) - 1 for c in CORNERS]
            difficult = item.find("difficult")
            assert difficult is not None and int(difficult.text) == 0
            read.append((item.find("name").text, corners))
        assert read == [(face, [box.x1, box.y1, box.x2 - 1, box.y2 - 1]) for face, box in faces]
