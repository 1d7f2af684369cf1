"""The safetensors file of a detector: its weights, and as facts how to build its network again.

Nothing here builds one: see `models.faces.weights`.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError
from torch import Tensor

from models.checkpoint import load_safetensors, save_safetensors
from models.faces.params import DetectorParams
from pipeline.errors import WeightsError
from pipeline.params import first_refusal

if TYPE_CHECKING:
    from models.faces.detector import Detector

Origin = Literal["untrained", "imagenet", "coco"]
"""Where a detector's weights once began; decides on its normalisation layers."""


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


def save_detector(
    path: Path, detector: "Detector", params: DetectorParams, trained_on: Collection[str]
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


def read_detector(path: Path) -> tuple[dict[str, Tensor], DetectorFacts]:
    """Parameters and facts of a file of `save_detector`.

    Raises:
        WeightsError: the file is missing, damaged or not a detector.
    """
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


def detector_params(path: Path) -> DetectorParams:
    """The section `detector` that a file of `save_detector` was trained with.

    Raises:
        WeightsError: the file is missing, damaged or not a detector.
    """
    return read_detector(path)[1].params


def origin_of(params: DetectorParams) -> Origin:
    """Where the weights once began; a file remembers it."""
    if params.weights in ("untrained", "imagenet", "coco"):
        return cast(Origin, params.weights)
    return read_detector(Path(params.weights))[1].origin


def training_clips(params: DetectorParams) -> frozenset[str]:
    """Ids of the clips that the weights to begin with were trained on; none where published.

    Raises:
        WeightsError: the file is missing, damaged or not a detector.
    """
    if params.weights in ("untrained", "imagenet", "coco"):
        return frozenset()
    return read_detector(Path(params.weights))[1].trained_on
