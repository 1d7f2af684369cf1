"""Everything the report shows, read once; parts that a run does not have are empty."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.clips import ClipRecord, Reject, frame_name, read_clips
from pipeline.errors import CorpusError, ParamsError
from pipeline.params import PARAMS_FILE, load_section, read_params
from pipeline.report.frames import Detection, FaceOf, Picture, picture, read_detections
from pipeline.scores.predictions import Predictions, headline, read_predictions
from pipeline.splits import SplitParams
from pipeline.systems import load_system


@dataclass(frozen=True, slots=True)
class Method:
    """Switches of `params.yaml` that tell one run of a system from another."""

    handcrafted: bool
    speech_weighting: bool
    backbone: str
    box_loss: str
    voting: bool
    joint: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What was run, from `params.yaml`."""

    system: str
    corpus: str
    split: SplitParams
    audio_weights: str
    detector_weights: str
    method: Method

    @classmethod
    def read(cls, path: Path = PARAMS_FILE) -> "Facts":
        """Read what was run; the stages before have validated all sections.

        Raises:
            ParamsError: a section or key is missing.
        """
        sections = read_params(path)
        try:
            return cls(
                system=load_system(path),
                corpus=str(sections["corpus"]["name"]),
                split=load_section("split", SplitParams, path),
                audio_weights=str(sections["embed"]["weights"]),
                detector_weights=str(sections["detector"]["weights"]),
                method=Method(
                    handcrafted=bool(sections["audio"]["handcrafted"]),
                    speech_weighting=bool(sections["visual"]["speech_weighting"]),
                    backbone=str(sections["detector"]["backbone"]),
                    box_loss=str(sections["detector"]["box_loss"]),
                    voting=bool(sections["detector"]["voting"]),
                    joint=bool(sections["fusion"]["joint"]),
                ),
            )
        except KeyError as error:
            raise ParamsError(f"{path}: {error} is missing; see presets/demo.yaml") from error


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the inputs of the report lie; `face_of` reads the annotated face of a frame."""

    clips: Path
    quarantine: Path
    annotation_metrics: Path
    voc: Path
    detector: Path
    predictions: Path
    history: Path
    metrics: Path
    face_of: FaceOf


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    facts: Facts
    records: Sequence[ClipRecord]
    rejects: Sequence[Reject]
    branches: Mapping[str, Predictions]
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, str]]
    annotation: Mapping[str, Any]
    detector: Mapping[str, Any]
    detector_history: Sequence[Mapping[str, str]]
    detections: Sequence[Detection]
    voc: Path
    face_of: FaceOf
    found: Mapping[tuple[str, int], Detection] = field(init=False)

    def __post_init__(self) -> None:
        found = {(one.clip_id, one.frame): one for one in self.detections}
        object.__setattr__(self, "found", found)

    @property
    def headline(self) -> str:
        """Branch that the run is judged by."""
        return headline(self.branches)

    @property
    def main(self) -> Predictions:
        """Predictions of the headline branch."""
        return self.branches[self.headline]

    def record(self, clip_id: str) -> ClipRecord:
        """The clip of a prediction or detection.

        Raises:
            CorpusError: `data/clips.csv` does not hold it.
        """
        for record in self.records:
            if record.clip_id == clip_id:
                return record
        raise CorpusError(f"clip {clip_id} is not in data/clips.csv; run `dvc repro`")

    def picture(self, clip_id: str, frame: int) -> Picture | None:
        """A stored frame with its boxes; None where the clip has no such frame."""
        name = frame_name(clip_id, frame)
        jpeg = self.voc / "JPEGImages" / f"{name}.jpg"
        if not jpeg.is_file():
            return None
        found = self.found.get((clip_id, frame))
        return picture(self.record(clip_id), frame, jpeg, self.face_of(name), found)


def read_run(sources: Sources, facts: Facts) -> Run:
    """Read a run.

    Raises:
        CorpusError: a table is not what its stage writes, or a predicted clip is unknown.
    """
    detections = sources.detector / "detections.csv"
    run = Run(
        facts=facts,
        records=read_clips(sources.clips),
        rejects=[Reject(**row) for row in read_rows(sources.quarantine)],
        branches=read_predictions(sources.predictions),
        metrics=read_json(sources.metrics).get("scores", {}),
        history=read_rows(sources.history),
        annotation=read_json(sources.annotation_metrics),
        detector=read_json(sources.detector / "metrics.json"),
        detector_history=read_rows(sources.detector / "history.csv"),
        detections=read_detections(detections) if detections.is_file() else [],
        voc=sources.voc,
        face_of=sources.face_of,
    )
    if unknown := sorted({*run.main.clip_id} - {record.clip_id for record in run.records}):
        raise CorpusError(
            f"{sources.predictions}: clip {unknown[0]} is not in {sources.clips}; run `dvc repro`"
        )
    return run


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV; none where the run did not write it."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the run did not write it.

    Raises:
        CorpusError: not JSON.
    """
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise CorpusError(f"{path}: not a JSON object ({error}); run `dvc repro`") from error
