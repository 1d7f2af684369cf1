import torch

from models.faces.closer_look import crop, jittered_squares, square_around, within


def test_a_square_has_the_face_in_its_middle():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 30.0]])
    assert square_around(boxes, 2.0).tolist() == [[0.0, 5.0, 40.0, 45.0]]
    assert within(boxes, square_around(boxes, 2.0), 80).tolist() == [[20.0, 30.0, 60.0, 50.0]]


def test_a_crop_at_its_own_size_holds_the_same_pixels():
    image = torch.rand(3, 40, 50)
    square = torch.tensor([[10.0, 5.0, 26.0, 21.0]])
    # two samples a pixel average bilinearly between neighbours: a constant slope stays exact
    slope = torch.linspace(0, 1, 50).expand(3, 40, 50)
    torch.testing.assert_close(crop([slope], square, 16)[0], slope[:, 5:21, 10:26])
    assert crop([image, image], square.repeat(2, 1), 8).shape == (2, 3, 8, 8)


def test_jitter_follows_the_seed_and_keeps_most_of_the_face():
    boxes = torch.tensor([[30.0, 30.0, 60.0, 60.0]]).repeat(200, 1)
    torch.manual_seed(0)
    squares = jittered_squares(boxes)
    torch.manual_seed(0)
    assert torch.equal(jittered_squares(boxes), squares)
    assert (squares[:, :2] < 34).all() and (squares[:, 2:] > 56).all()
    assert squares.std(dim=0).min() > 0.5
