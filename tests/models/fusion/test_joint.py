import pytest
import torch
from drawn_faces import EMOTIONS, TINY, draw_face

from models.faces.backbones import assemble
from models.fusion.branches import AudioNet, VisualNet
from models.fusion.joint import JointNet
from models.fusion.network import FusionHead, FusionNet
from models.losses import fusion_loss_weights
from models.systems.joint import joint_step
from models.training import weighted_sum

K, D_AUDIO = len(EMOTIONS), 5


@pytest.fixture
def network():
    torch.manual_seed(0)
    detector = assemble(TINY, EMOTIONS, "untrained")
    visual = VisualNet({"faces": [detector.embedding_dim]}, 4, K, 0.0)
    head = FusionHead(4 + 4, 4, K, 0.0, residual=True)
    return JointNet(FusionNet(AudioNet([D_AUDIO], (4, 4), K, 0.0), visual, head), detector)


@pytest.fixture
def batch():
    """Two clips of one frame each; the second has no annotated face."""
    image, box = draw_face(60, 60, 34, EMOTIONS[0])
    picture = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1) / 255
    corners = torch.tensor([[[box.x1, box.y1, box.x2, box.y2]]])
    drawn = {
        "images": picture.expand(2, 1, -1, -1, -1),
        "boxes": corners.expand(2, 1, 4),
        "weights": torch.ones(2, 1),
        "true_boxes": torch.cat([corners, torch.zeros(1, 1, 4)]),
        "true_labels": torch.tensor([[1], [0]]),
    }
    return {"drawn": drawn, "audio": torch.randn(2, D_AUDIO), "label": torch.tensor([0, 1])}


def test_the_fused_loss_alone_reaches_the_backbone(network, batch):
    losses = joint_step(network.train(), batch)
    weighted_sum(losses, fusion_loss_weights(0.0, 0.0)).backward()
    assert network.detector.net.backbone.body.conv1.weight.grad.abs().sum() > 0
    assert not network.detector.net.rpn.head.bbox_pred.weight.grad.any()


def test_the_box_loss_is_inside_the_visual_loss(network, batch):
    network.train()
    values = []
    for weight in (0.0, 1.0, 3.0):
        network.detector.loss_weights["box"] = weight
        torch.manual_seed(1)  # the sampling of RoIs
        values.append(network.detector_loss(batch["drawn"]).item())
    without, once, thrice = values
    assert once != without
    assert thrice - without == pytest.approx(3 * (once - without), rel=1e-3)


def test_a_frame_that_leaves_open_whether_it_shows_a_face_teaches_nothing(network, batch):
    drawn = batch["drawn"]
    drawn["true_labels"] = torch.tensor([[1], [-1]])
    torch.manual_seed(1)  # the sampling of RoIs
    both = network.train().detector_loss(drawn)
    torch.manual_seed(1)
    assert both == network.detector_loss({name: part[:1] for name, part in drawn.items()})
    assert network.detector_loss({name: part[1:] for name, part in drawn.items()}) == 0


def test_training_answers_from_what_the_detector_gives_at_test(network, batch):
    drawn = batch["drawn"]
    trained = network.train()(batch)
    with torch.no_grad():
        features = network.eval().detector.face_features(
            list(drawn["images"].flatten(0, 1)), drawn["boxes"].flatten(0, 1)
        )
        found = {"audio": batch["audio"], "faces": features[:, None], "weights": drawn["weights"]}
        torch.testing.assert_close(trained, network(found))


def test_a_frame_without_a_face_costs_no_number(network, batch):
    """Its box is empty, and so would be the crop of a closer look at it."""
    network.detector.closer_px = 32
    drawn = batch["drawn"]
    drawn["weights"] = torch.tensor([[1.0], [0.0]])
    drawn["boxes"] = drawn["boxes"] * drawn["weights"][..., None]
    losses = joint_step(network.train(), batch)
    weighted_sum(losses, fusion_loss_weights(1.0, 1.0)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
