"""Where a detector's weights come from."""

from collections.abc import Sequence
from pathlib import Path

from torchvision.models.detection._utils import overwrite_eps

from models.checkpoint import load_strictly, require_finite
from models.faces.backbones import assemble, coco_state, imagenet_state
from models.faces.detector import Detector
from models.faces.detector_file import Origin, read_detector
from models.faces.params import DetectorParams
from pipeline.errors import WeightsError

CLASS_LAYER = "net.roi_heads.box_predictor.class_logits."
TORCHVISION_PREDICTOR = "roi_heads.box_predictor."


def build_detector(params: DetectorParams, classes: Sequence[str]) -> Detector:
    """A detector with the weights that `detector.weights` asks for.

    | weights     | comes from                                   | stays random                  |
    |-------------|----------------------------------------------|-------------------------------|
    | `untrained` |                                              | everything                    |
    | `imagenet`  | the backbone's body, published               | pyramid, proposals, head      |
    | `coco`      | torchvision's whole detector, published      | the last layers of the head   |
    | a path      | a file of `save_detector`, same architecture | the class layer where classes |
    |             |                                              | differ                        |

    Raises:
        WeightsError: the weights cannot be had or do not fit the architecture.
    """
    if params.weights == "untrained":
        return _assemble(params, classes, "untrained")
    if params.weights == "imagenet":
        return _with_imagenet(params, classes)
    if params.weights == "coco":
        return _with_coco(params, classes)
    return _with_file(params, classes)


def load_detector(path: Path) -> Detector:
    """Rebuild a detector from `save_detector`'s file, in eval mode.

    Raises:
        WeightsError: the file is missing, damaged or not a detector.
    """
    state, facts = read_detector(path)
    detector = _assemble(facts.params, facts.classes, facts.origin)
    load_strictly(detector, state, path)
    return detector.eval()


def _assemble(params: DetectorParams, classes: Sequence[str], origin: Origin) -> Detector:
    detector = assemble(params, classes, origin)
    if origin == "coco" and params.backbone == "resnet50":
        overwrite_eps(detector, 0.0)  # these weights were trained without it
    return detector


def _with_imagenet(params: DetectorParams, classes: Sequence[str]) -> Detector:
    state = imagenet_state(params.backbone)
    detector = _assemble(params, classes, "imagenet")
    body = detector.net.backbone.body
    wanted = body.state_dict().keys()
    prefix = "features." if params.backbone == "mobilenet_v3" else ""
    found = {name.removeprefix(prefix): value for name, value in state.items()}
    body.load_state_dict({name: found[name] for name in wanted if name in found})
    return detector


def _with_coco(params: DetectorParams, classes: Sequence[str]) -> Detector:
    state = coco_state(params.backbone)
    detector = _assemble(params, classes, "coco")
    own = {
        name: value
        for name, value in detector.net.state_dict().items()
        if name.startswith(TORCHVISION_PREDICTOR)
    }
    published = {
        name: value for name, value in state.items() if not name.startswith(TORCHVISION_PREDICTOR)
    }
    detector.net.load_state_dict({**published, **own})
    return detector


def _with_file(params: DetectorParams, classes: Sequence[str]) -> Detector:
    path = Path(params.weights)
    state, facts = read_detector(path)
    detector = _assemble(params, classes, facts.origin)
    if facts.classes != tuple(classes):
        own = detector.state_dict()
        state |= {name: own[name] for name in own if name.startswith(CLASS_LAYER)}
    try:
        detector.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: not weights of detector.backbone {params.backbone}; "
            f"expected those of {facts.params.backbone}"
        ) from error
    require_finite(detector, path)
    return detector
