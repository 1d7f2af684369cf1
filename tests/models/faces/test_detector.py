import pytest
import torch
from drawn_faces import EMOTIONS, TINY, draw_face
from torchvision.models.detection.roi_heads import RoIHeads

from models.faces.backbones import STRIDES, assemble, build_backbone
from models.faces.detector_file import save_detector
from models.faces.roi_heads import BoxPredictor, CornerCoder, UncertainRoIHeads
from models.faces.weights import build_detector, load_detector
from models.losses import LOG_VAR_MAX
from pipeline.errors import TrainingError, WeightsError

NO_FACE = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


def _examples():
    places = [(60, 60, 34), (95, 70, 38), (75, 55, 30), (100, 60, 36)]
    images, targets = [], []
    for k, place in enumerate(places):
        image, box = draw_face(*place, EMOTIONS[k % 2])
        images.append(torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1) / 255)
        corners = torch.tensor([[box.x1, box.y1, box.x2, box.y2]])
        targets.append({"boxes": corners, "labels": torch.tensor([1 + k % 2])})
    return images, targets


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return assemble(TINY, EMOTIONS, "untrained")


def test_corner_coder_decodes_what_it_encodes():
    proposals = torch.tensor([[10.0, 20.0, 50.0, 100.0], [0.0, 0.0, 7.0, 5.0]])
    boxes = torch.tensor([[12.0, 15.0, 60.0, 90.0], [1.0, 1.0, 9.0, 6.0]])
    deltas = CornerCoder().encode([boxes], [proposals])[0]
    torch.testing.assert_close(deltas[0], torch.tensor([0.5, -0.625, 2.5, -1.25]))
    torch.testing.assert_close(CornerCoder().decode(deltas, proposals), boxes)


def test_predictor_starts_with_variances_of_one_and_clamps_them():
    torch.manual_seed(0)
    predictor = BoxPredictor(64, 7)
    assert predictor(torch.randn(5, 64))[2].abs().max() < 0.01
    assert predictor(torch.full((1, 64), 1e9))[2].abs().max() == LOG_VAR_MAX


def test_losses_exist_for_images_without_faces_and_in_training_mode_only(detector):
    images, targets = _examples()
    losses = detector.train()(images[:2], [targets[0], NO_FACE])
    assert set(losses) == {"objectness", "proposal", "class", "box", "closer"}
    assert all(value.isfinite() for value in losses.values())
    assert detector(images[:2], [NO_FACE, NO_FACE])["box"] == 0
    with pytest.raises(TrainingError, match="training mode"):
        detector.eval()(images, targets)


def test_detector_overfits_four_images(detector):
    torch.manual_seed(0)
    images, targets = _examples()
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    detector.train()
    for _ in range(40):
        optimizer.zero_grad()
        torch.stack(list(detector(images, targets).values())).sum().backward()
        optimizer.step()
    found = detector.eval().detect(images)
    for faces, target in zip(found, targets, strict=True):
        assert faces.probs[0].argmax() == target["labels"][0]
        assert (faces.boxes[0] - target["boxes"][0]).abs().max() < 12  # px, faces of 60 to 76


def test_detections_of_a_batch_are_those_of_its_images(detector):
    images, _ = _examples()
    detector.eval()
    both, single = detector.detect(images[:2])[1], detector.detect(images[1:2])[0]
    for part in ("boxes", "log_var", "scores", "probs", "features"):
        torch.testing.assert_close(getattr(both, part), getattr(single, part))


def test_detections_scale_with_the_image(detector):
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 32, 40), size=(64, 80))[0]
    twice = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    small, large = (detector.eval().detect([i])[0] for i in (image, twice))
    torch.testing.assert_close(large.boxes[0], 2 * small.boxes[0], rtol=0.01, atol=0.5)
    expected = small.log_var[0] + 2 * torch.log(torch.tensor(2.0))
    torch.testing.assert_close(large.log_var[0], expected, rtol=0.01, atol=0.05)


def test_features_are_those_of_the_detections_and_differentiable(detector):
    images, _ = _examples()
    detector.eval()
    faces = [found.boxes[:1] for found in detector.detect(images)]
    features = detector.features(images, faces)
    assert features.shape == (4, detector.embedding_dim)
    stored = torch.cat([found.features[:1] for found in detector.detect(images)])
    torch.testing.assert_close(features, stored, rtol=1e-3, atol=1e-5)
    detector.class_logits(features).sum().backward()
    assert detector.net.backbone.body.conv1.weight.grad.abs().sum() > 0


def test_a_closer_look_gives_the_best_face_its_features_and_class():
    torch.manual_seed(0)
    closer = assemble(TINY.model_copy(update={"closer_px": 48}), EMOTIONS, "untrained")
    images, targets = _examples()
    assert closer.losses(images, targets)["closer"] > 0
    found = closer.eval().detect(images)
    boxes = torch.stack([faces.boxes[0] for faces in found])
    features = closer.face_features(images, boxes)
    torch.testing.assert_close(torch.stack([f.features[0] for f in found]), features)
    shares = closer.class_logits(features)[:, 1:].softmax(dim=1)
    for faces, share in zip(found, shares, strict=True):
        torch.testing.assert_close(faces.probs[0, 1:], faces.scores[0] * share)
        torch.testing.assert_close(faces.probs[0].sum(), torch.tensor(1.0))
    features.sum().backward()
    assert closer.net.backbone.body.conv1.weight.grad.abs().sum() > 0


def test_kl_at_alpha_zero_is_smooth_l1(detector):
    images, targets = _examples()
    heads = detector.train().net.roi_heads
    torch.nn.init.zeros_(heads.box_predictor.log_var.weight)
    losses = []
    for learn in (True, False):
        detector.learn_variances(learn)
        torch.manual_seed(1)  # the sampling of RoIs
        losses.append(detector(images, targets)["box"])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("name", STRIDES)
def test_strides_are_those_of_the_pyramid(name):
    maps = build_backbone(name, "imagenet", 0).eval()(torch.zeros(1, 3, 128, 128))
    found = [128 // maps[str(level)].shape[-1] for level in range(len(STRIDES[name]))]
    assert tuple(found) == STRIDES[name]


def test_detections_do_not_depend_on_the_images_before(detector):
    images, _ = _examples()
    detector.eval().detect([torch.rand(3, 90, 160)])  # resized to 45 x 80, padded to 64 x 96
    after = detector.detect(images[:1])[0]
    torch.manual_seed(0)
    fresh = assemble(TINY, EMOTIONS, "untrained").eval().detect(images[:1])[0]
    torch.testing.assert_close(after.features, fresh.features)


def test_heads_keep_torchvision_matching_and_sampling():
    for method in ("select_training_samples", "assign_targets_to_proposals", "subsample"):
        assert getattr(UncertainRoIHeads, method) is getattr(RoIHeads, method)


def test_saved_detector_detects_the_same(detector, tmp_path):
    images, _ = _examples()
    save_detector(tmp_path / "d.safetensors", detector, TINY, ["a"])
    loaded = load_detector(tmp_path / "d.safetensors")
    assert loaded.classes == EMOTIONS
    torch.testing.assert_close(
        loaded.detect(images)[0].features, detector.eval().detect(images)[0].features
    )


def test_weights_of_a_file_begin_a_detector_of_other_classes(detector, tmp_path):
    save_detector(tmp_path / "d.safetensors", detector, TINY, ["a"])
    params = TINY.model_copy(update={"weights": str(tmp_path / "d.safetensors")})
    other = build_detector(params, ("face",))
    torch.testing.assert_close(
        other.net.roi_heads.box_head.fc7.weight, detector.net.roi_heads.box_head.fc7.weight
    )
    with pytest.raises(WeightsError, match="resnet18_light"):
        build_detector(params.model_copy(update={"backbone": "mobilenet_v3"}), ("face",))


def test_weights_that_cannot_be_had_are_refused_with_a_remedy(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match=r"resnet18-.*pth: cannot fetch https://.*by hand"):
        build_detector(TINY.model_copy(update={"weights": "imagenet"}), EMOTIONS)
    with pytest.raises(WeightsError, match="COCO"):
        build_detector(TINY.model_copy(update={"weights": "coco"}), EMOTIONS)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        build_detector(TINY.model_copy(update={"weights": str(tmp_path / "no")}), EMOTIONS)


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v3"])
def test_published_detectors_fit_apart_from_the_last_layers(backbone, monkeypatch):
    from torchvision.models import detection

    build = {
        "resnet50": detection.fasterrcnn_resnet50_fpn,
        "mobilenet_v3": detection.fasterrcnn_mobilenet_v3_large_320_fpn,
    }[backbone]
    published = build(weights=None, weights_backbone=None, num_classes=91).state_dict()
    state = {k: v for k, v in published.items() if not k.endswith("num_batches_tracked")}
    monkeypatch.setattr("models.faces.weights.coco_state", lambda name: state)
    params = TINY.model_copy(update={"weights": "coco", "backbone": backbone})
    loaded = build_detector(params, EMOTIONS).net.state_dict()
    for name in ("rpn.head.bbox_pred.bias", "roi_heads.box_head.fc6.bias"):
        torch.testing.assert_close(loaded[name], published[name])
