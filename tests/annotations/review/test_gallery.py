import json
import shutil

import cv2
import numpy as np
import pytest

from annotations import voc
from annotations.review.gallery import (
    REASONS,
    Detected,
    Look,
    read_detections,
    reasons_of,
    runs_of,
    write_gallery,
)
from annotations.voc import Annotation, Box, FaceObject
from pipeline.clips import ClipRecord, frame_name
from pipeline.errors import AnnotationError

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
         "--disable-sync --no-first-run").split()  # fmt: skip
SIZE_PX = (64, 48)
BOX = Box(10, 10, 30, 30)
FACE = FaceObject(BOX, "anger", 1.5, "dlib_hog", primary=True)


def annotation(*objects):
    return Annotation("a.jpg", *SIZE_PX, objects)


def moved(dx):
    return Box(10 + dx, 10, 30 + dx, 30)


@pytest.mark.parametrize(
    ("objects", "before", "detected", "reasons"),
    [
        ((FACE,), BOX, Detected(BOX, 1.0), {}),
        ((), BOX, None, {"no_face": 1.0}),
        ((FACE, FaceObject(moved(30), primary=False)), BOX, None, {"several": 2.0}),
        ((FaceObject(BOX, score=0.05),), BOX, None, {"low_score": 0.2}),
        ((FACE,), moved(5), None, {}),
        ((FaceObject(BOX, source="filled"),), BOX, None, {"filled": 1.0}),
        ((FACE,), moved(8), None, {"jump": 0.4}),
        ((FACE,), BOX, Detected(BOX, 4.0), {"unsure": 0.2}),
        ((FACE,), BOX, Detected(moved(10), 1.0), {"disagrees": 2 / 3}),
    ],
)
def test_a_frame_is_to_be_looked_at_for_what_is_wrong_with_it(objects, before, detected, reasons):
    assert reasons_of(annotation(*objects), before, detected) == pytest.approx(reasons)


def test_alike_frames_share_a_tile_that_shows_the_worst():
    low = [{}, {"low_score": 0.1}, {"low_score": 0.2}, {"low_score": 0.1}, {}, {}, {}]
    boxes = [BOX] * 6 + [moved(25)]
    looks = [Look(i, box, None, why) for i, (box, why) in enumerate(zip(boxes, low, strict=True))]
    runs = runs_of(0, iter(looks))
    assert [[look.frame for look in run.looks] for run in runs] == [[0], [1, 2, 3], [4, 5], [6]]
    assert [run.shown.frame for run in runs] == [0, 2, 4, 6]
    assert min(runs, key=lambda run: run.shown.order) is runs[1]


def test_a_fold_that_tests_a_clip_speaks_of_it(tmp_path):
    table = tmp_path / "detections.csv"
    sides = ",".join(
        f"{name}{side}" for name in ("", "sigma_") for side in ("x1", "y1", "x2", "y2")
    )
    rows = [
        "train,a,3,0,1,1,9,9,1,1,1,1",
        "test,a,3,0,2,2,9,9,1,2,3,2",
        "test,a,3,1,5,5,9,9,1,1,1,1",
        "train,a,3,0,3,3,9,9,1,1,1,1",
    ]
    table.write_text("\n".join([f"split,clip_id,frame,rank,{sides}", *rows]) + "\n")
    assert read_detections(table) == {"a_00003": Detected(Box(2, 2, 9, 9), 2.0)}


def make_voc(root, clips, frames):
    """`voc` below `root`: the second frame of each clip shows no face, the last has been moved."""
    records = []
    for clip in range(clips):
        record = ClipRecord(
            f"S{clip % 2}_{clip:03d}", f"S{clip % 2}", "anger" if clip % 3 else "fear",
            "", frames, 25.0, 1, *SIZE_PX, 0, 0,
        )  # fmt: skip
        records.append(record)
        for index in range(frames):
            name = frame_name(record.clip_id, index)
            (root / "voc/JPEGImages").mkdir(parents=True, exist_ok=True)
            picture = np.full((*SIZE_PX[::-1], 3), 60 + 20 * clip % 200, np.uint8)
            cv2.imwrite(str(root / f"voc/JPEGImages/{name}.jpg"), picture)
            faces = () if index == 1 else (FACE,)
            voc.write(root / f"voc/Annotations/{name}.xml", annotation(*faces))
    return records


def index_of(out):
    text = (out / "frames.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("const GALLERY = ").removesuffix(";\n"))


def test_the_worst_come_first_and_what_is_fine_last(tmp_path):
    records = make_voc(tmp_path, clips=2, frames=6)
    out = tmp_path / "results" / "gallery"
    runs = write_gallery(
        out, records, tmp_path / "voc", {"S1_001": {1}}, tmp_path / "none.csv", "Demo corpus."
    )
    index = index_of(out)
    assert index["images"] == "../../voc/JPEGImages/"
    assert (out / index["images"] / "S0_000_00001.jpg").is_file()
    no_face, corrected = (1 << list(REASONS).index(key) for key in ("no_face", "corrected"))
    fine = [(clip, first, 0) for clip in (0, 1) for first in (0, 2)]
    found = [(run[0], run[1], run[4]) for run in index["runs"]]
    assert found == [(0, 1, no_face), (1, 1, corrected), *fine]
    assert len(index["runs"]) == runs
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Demo corpus." in page and "our detector" not in page


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on the PATH")
@pytest.mark.parametrize("width", [390, 1400])
def test_the_gallery_in_a_browser(tmp_path, width):
    """By keyboard from the first tile to a saved list; no overflow, no message, no request out."""
    from playwright.sync_api import sync_playwright

    records = make_voc(tmp_path, clips=5, frames=4)
    out = tmp_path / "results" / "gallery"
    write_gallery(out, records, tmp_path / "voc", {}, tmp_path / "none.csv", "")
    console, requests = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        view = browser.new_page(viewport={"width": width, "height": 900})
        view.on("console", lambda message: console.append(message.text))
        view.on("pageerror", lambda error: console.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto((out / "index.html").as_uri())
        assert view.inner_text("#count") == "20 frames in 15 runs, worst first"
        view.check("#reasons input")
        assert view.inner_text("#count") == "5 frames in 5 runs, worst first"
        view.uncheck("#reasons input")
        view.select_option("#speaker", "S1")
        assert view.locator(".tile").count() == 6
        view.locator(".tile").first.focus()
        view.keyboard.press("ArrowRight")
        view.keyboard.press("ArrowRight")
        view.keyboard.press("Space")
        assert view.inner_text("#chosen").endswith("1 frame ticked")
        view.keyboard.press("ArrowRight")
        view.keyboard.press("Space")
        view.keyboard.press("Enter")
        assert "frames 2 to 3" in view.inner_text("#about")
        view.keyboard.press("Escape")
        with view.expect_download() as download:
            view.click("#save")
        names = download.value.path().read_text().split()
        widest = view.evaluate("document.documentElement.scrollWidth")
        broken = view.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).length"
        )
        browser.close()
    stored = {frame_name(record.clip_id, index) for record in records for index in range(4)}
    assert len(names) == 3 and set(names) <= stored
    assert (widest, broken, console) == (width, 0, [])
    assert all(url.startswith(("file://", "data:", "blob:")) for url in requests)


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(AnnotationError, match=r"holds thesis\.txt, which the page would replace"):
        write_gallery(tmp_path, [], tmp_path / "voc", {}, tmp_path / "none.csv", "")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    out = tmp_path / "gallery"
    for _ in range(2):
        write_gallery(out, [], tmp_path / "voc", {}, tmp_path / "none.csv", "")
    assert (out / "index.html").is_file()
