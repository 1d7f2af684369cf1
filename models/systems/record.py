"""What the report says of a run, gathered from its validated sections and its products."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import JsonValue

from annotations import voc
from annotations.params import AnnotateParams
from models.faces.params import DetectorParams
from models.systems.inputs import Store
from models.systems.params import Settings
from pipeline.clips import Reject
from pipeline.corpora.params import CorpusParams
from pipeline.files import read_json, read_table
from pipeline.media.params import ExtractParams
from pipeline.params import differing, load_section
from pipeline.presets import PRESETS, preset_values
from pipeline.report.frames import Corners, FaceOf, publish_frames, read_detections
from pipeline.report.run import Corpus, Method, Preset, Protocol, Run, Scores
from pipeline.scores.params import PredictParams
from pipeline.scores.predictions import Predictions, headline
from pipeline.scores.results import digest_of_test_set
from pipeline.splits import Fold, SplitParams
from pipeline.systems import readable


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of `params.yaml` that decide what a run gives."""

    corpus: CorpusParams
    extract: ExtractParams
    annotate: AnnotateParams
    split: SplitParams
    detector: DetectorParams
    settings: Settings
    predict: PredictParams

    @classmethod
    def read(cls) -> "Sections":
        """The sections of `params.yaml`.

        Raises:
            ParamsError: a section is missing or a value is refused.
        """
        models = get_type_hints(cls)
        del models["settings"]
        sections = {name: load_section(name, model) for name, model in models.items()}
        return cls(settings=Settings.read(), **sections)

    def values(self) -> dict[str, dict[str, JsonValue]]:
        """By section, without the corpus folder, which is a fact of the machine."""
        models = {name: getattr(self, name) for name in self.__slots__ if name != "settings"}
        models |= {name: getattr(self.settings, name) for name in self.settings.__slots__}
        values = {name: model.model_dump(mode="json") for name, model in models.items()}
        del values["corpus"]["root"]
        return values

    @property
    def method(self) -> Method:
        """The switches that the report names in words."""
        return Method(
            audio_weights=self.settings.embed.weights,
            detector_weights=self.detector.weights,
            handcrafted=self.settings.audio.handcrafted,
            speech_weighting=self.settings.visual.speech_weighting,
            backbone=self.detector.backbone,
            box_loss=self.detector.box_loss,
            voting=self.detector.voting,
            joint=self.settings.fusion.joint,
            pool=self.settings.fusion.pool,
            head=self.settings.fusion.head,
            embeddings=self.settings.audio.embeddings,
        )


def record_run(
    system: str,
    sections: Sections,
    store: Store,
    folds: Sequence[Fold],
    branches: Mapping[str, Predictions],
    scores: Mapping[str, Any],
    joint_detector: dict[str, Any] | None,
    results: Path,
) -> Run:
    """Describe a run, and publish the frames that the report shows as `results/frames`.

    Args:
        system: its name.
        sections: of `params.yaml`.
        store: the run's inputs.
        folds: of the protocol.
        branches: predictions of the test clips.
        scores: what `pipeline.scores.metrics.summarise` gives, `as_trained`, `weights`,
            `collapsed` and `faceless`.
        joint_detector: see `models.systems.evaluate.joint_boxes`.
        results: folder of the results.
    """
    main = branches[headline(branches)]
    speaker = {record.clip_id: record.speaker for record in store.records}
    used = sum(bool(record.emotion) for record in readable(system, store.records))
    detections = results / "detector" / "detections.csv"
    frames = publish_frames(
        results / "frames",
        store.data / "voc" / "JPEGImages",
        store.records,
        main,
        read_detections(detections) if detections.is_file() else [],
        faces_in(store.data / "voc" / "Annotations"),
    )
    return Run(
        system=system,
        params=sections.values(),
        preset=preset_of(sections.corpus.name, sections.values()),
        method=sections.method,
        corpus=Corpus.of(sections.corpus.name, store.records, used, _rejects(store.data)),
        protocol=Protocol.of(sections.split, folds, speaker, digest_of_test_set(main)),
        scores=Scores.of(scores),
        detector=_figures(results / "detector" / "metrics.json"),
        joint_detector=joint_detector,
        annotation=_figures(store.data / "annotation_metrics.json"),
        frames=frames,
    )


def preset_of(corpus: str, params: Mapping[str, Any], presets: Path = PRESETS) -> Preset | None:
    """How `params` differ from the preset named as the corpus; None where there is none."""
    if not (presets / f"{corpus}.yaml").is_file():
        return None
    return Preset(name=corpus, differing=differing(preset_values(corpus, presets), params))


def faces_in(annotations: Path) -> FaceOf:
    """The annotated face of a frame, read when asked for."""

    def face_of(name: str) -> Corners | None:
        path = annotations / f"{name}.xml"
        face = voc.read(path).speaker_face if path.is_file() else None
        return (face.box.x1, face.box.y1, face.box.x2, face.box.y2) if face else None

    return face_of


def _rejects(data: Path) -> list[Reject]:
    path, again = data / "quarantine.csv", "run `dvc repro extract`"
    return read_table(path, lambda row: Reject(**row), again)


def _figures(path: Path) -> dict[str, JsonValue]:
    return read_json(path, "run `dvc repro`") if path.is_file() else {}
