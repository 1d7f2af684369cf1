import dlib
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from annotations.box import Box

WIDTH, HEIGHT = 320, 256
corner = st.floats(-50, 400, width=32)
side = st.floats(1, 300, width=32)
boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), corner, corner, side, side)


@pytest.mark.parametrize(
    ("sides", "box", "on_disk"),
    [
        ((0, 0, 319, 255), Box(0, 0, 320, 256), (1, 1, 320, 256)),
        ((-9, -1, 100, 90), Box(0, 0, 101, 91), (1, 1, 101, 91)),
        ((250, 200, 330, 256), Box(250, 200, 320, 256), (251, 201, 320, 256)),
        ((10, 20, 10, 20), Box(10, 20, 11, 21), (11, 21, 11, 21)),
    ],
)
def test_from_dlib_clamps_at_the_borders(sides, box, on_disk):
    got = Box.from_dlib(dlib.rectangle(*sides), WIDTH, HEIGHT)
    assert got == box
    assert got.to_voc() == on_disk
    assert Box.from_voc(*on_disk) == got


def test_from_dlib_keeps_the_size_of_an_inner_rectangle():
    rectangle = dlib.rectangle(30, 40, 129, 159)
    box = Box.from_dlib(rectangle, WIDTH, HEIGHT)
    assert (box.width, box.height, box.area) == (
        rectangle.width(),
        rectangle.height(),
        rectangle.area(),
    )


@settings(deadline=None)
@given(a=boxes, b=boxes)
def test_iou_agrees_with_torchvision(a, b):
    tensors = [torch.tensor([[c.x1, c.y1, c.x2, c.y2]], dtype=torch.float64) for c in (a, b)]
    assert a.iou(b) == pytest.approx(box_iou(*tensors).item(), abs=1e-12)
    assert a.iou(b) == b.iou(a)
    assert a.iou(a) == pytest.approx(1.0)


@settings(deadline=None)
@given(box=boxes)
def test_rounded_holds_the_box_in_whole_pixels(box):
    whole = box.rounded()
    assert whole == whole.rounded()
    assert whole.x1 <= box.x1 and whole.y1 <= box.y1 and whole.x2 >= box.x2 and whole.y2 >= box.y2
    assert max(box.x1 - whole.x1, whole.x2 - box.x2) <= 1


@pytest.mark.parametrize("corners", [(5, 0, 5, 9), (0, 9, 5, 1), (0, 0, float("inf"), 1)])
def test_corners_out_of_order_are_no_box(corners):
    with pytest.raises(ValueError, match="not a box"):
        Box(*corners)
