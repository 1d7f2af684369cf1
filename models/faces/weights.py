"""Where a detector's weights come from, and the safetensors file that keeps them."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError
from torch import Tensor
from torchvision.models.detection._utils import overwrite_eps

from models.checkpoint import load_safetensors, load_strictly, require_finite, save_safetensors
from models.faces.backbones import Origin, assemble, coco_state, imagenet_state
from models.faces.detector import Detector
from models.faces.params import DetectorParams
from pipeline.errors import WeightsError
from pipeline.params import first_refusal

CLASS_LAYER = "net.roi_heads.box_predictor.class_logits."
TORCHVISION_PREDICTOR = "roi_heads.box_predictor."


class DetectorFacts(BaseModel):
    """How to build the network around the weights in a detector's file.

    Attributes:
        params: section `detector`.
        classes: names of the classes, without the background.
        origin: where the weights once began.
        trained_on: ids of the clips that they saw.
    """

    model_config = ConfigDict(frozen=True)

    params: Json[DetectorParams]
    classes: Json[Annotated[tuple[str, ...], Field(min_length=1)]]
    origin: Origin
    trained_on: Json[frozenset[str]]


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


def origin_of(params: DetectorParams) -> Origin:
    """Where the weights once began; a file remembers it."""
    if params.weights in ("untrained", "imagenet", "coco"):
        return cast(Origin, params.weights)
    return _read(Path(params.weights))[1].origin


def training_clips(params: DetectorParams) -> frozenset[str]:
    """Ids of the clips that the weights to begin with were trained on; none where published.

    Raises:
        WeightsError: the file is missing, damaged or not a detector.
    """
    if params.weights in ("untrained", "imagenet", "coco"):
        return frozenset()
    return _read(Path(params.weights))[1].trained_on


def save_detector(
    path: Path, detector: Detector, params: DetectorParams, trained_on: Collection[str]
) -> None:
    """Write weights, and in the metadata how to build the network around them.

    Args:
        path: file to write.
        detector: a trained detector.
        params: section `detector`.
        trained_on: ids of its training clips; those that its first weights saw are added.
    """
    about = {
        "params": params.model_dump_json(),
        "classes": json.dumps(detector.classes),
        "origin": origin_of(params),
        "trained_on": json.dumps(sorted({*trained_on, *training_clips(params)})),
    }
    save_safetensors(path, detector.state_dict(), about)


def load_detector(path: Path) -> Detector:
    """Rebuild a detector from `save_detector`'s file, in eval mode.

    Raises:
        WeightsError: the file is missing, damaged or not a detector.
    """
    state, facts = _read(path)
    detector = _assemble(facts.params, facts.classes, facts.origin)
    load_strictly(detector, state, path)
    return detector.eval()


def detector_params(path: Path) -> DetectorParams:
    """The section `detector` that a file of `save_detector` was trained with.

    Raises:
        WeightsError: the file is missing, damaged or not a detector.
    """
    return _read(path)[1].params


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
    state, facts = _read(path)
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


def _read(path: Path) -> tuple[dict[str, Tensor], DetectorFacts]:
    state, about = load_safetensors(path)
    if not DetectorFacts.model_fields.keys() <= about.keys():
        raise WeightsError(
            f"{path}: not a detector file; its facts are {sorted(about)}; expected untrained, "
            "imagenet, coco or the path of a detector's .safetensors"
        )
    try:
        return state, DetectorFacts.model_validate(about)
    except ValidationError as error:
        raise WeightsError(
            f"{path}: not a detector file ({first_refusal(error)}); copy it again, or train it "
            "with this version"
        ) from error
