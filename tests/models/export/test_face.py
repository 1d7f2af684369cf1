"""The best face of a frame without lists of changing length, against the detector itself."""

import pytest
import torch
from drawn_faces import EMOTIONS, TINY, draw_face
from torch import nn

from models.export.face import BestFace
from models.faces.frames import image_tensor
from models.faces.weights import build_detector

CHANGES = [
    {},
    {"closer_px": 32},
    {"voting": False},
    {"min_size_px": 96, "max_size_px": 128},
    {"proposals": 1},
    {"score_threshold": 0.999},
    {"backbone": "mobilenet_v3"},
    {"backbone": "resnet50"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@torch.no_grad()
def test_the_best_face_is_that_of_the_detector(changes):
    torch.manual_seed(0)
    detector = build_detector(TINY.model_copy(update=changes), EMOTIONS)
    drawn = torch.from_numpy(draw_face(70, 60, 34, "anger")[0].copy())
    meet(detector, image_tensor(drawn.numpy()))
    graph = BestFace(detector, *drawn.shape[:2]).eval()
    for frame in (drawn, torch.randint(256, drawn.shape, dtype=torch.uint8)):
        answer = graph(frame)
        face = detector.best_face(detector.detect([image_tensor(frame.numpy())])[0])
        found = bool(face.scores[0] > 0)
        assert found == ("score_threshold" not in changes)
        sigma = torch.exp(face.log_var[0] / 2) if found else torch.zeros(4)
        expected = (face.boxes[0], sigma, face.scores[0], face.features[0])
        torch.testing.assert_close(answer, expected, atol=1e-3, rtol=1e-4)


def meet(detector, image):
    """Normalise by statistics of the image: else a random network answers nearly the same of all
    boxes, and rounding would choose among them."""
    for part in detector.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    detector.train()
    detector.net.backbone(detector.net.transform([image, image.flip(2)])[0].tensors)
    detector.eval()
