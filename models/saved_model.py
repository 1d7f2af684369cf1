"""A trained model as a folder that holds nothing that can be executed.

It needs nothing else but a speech encoder that came from a folder or the hub, see `Weights`.

| file                    | content                                                            |
|-------------------------|--------------------------------------------------------------------|
| `model.json`            | a `ModelCard`: what the model is and how its inputs are computed   |
| `network.safetensors`   | parameters and statistics of the system's network                  |
| `detector.safetensors`  | the face detector, where the system reads its features             |
| `<network>.safetensors` | weights of a frozen audio network that came from a file            |
| `encoder_<n>`           | folder of the n-th of `faces.embeddings` and its licence, where    |
|                         | the system reads it                                                |
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from models.audio.params import PANNS
from models.audio.weights import PUBLISHED, resolve
from models.checkpoint import load_safetensors, read_state, save_safetensors
from models.expressions.encoders import resolve as resolve_encoder
from models.model_card import HeldOutScores, InputParams, ModelCard, describe
from models.systems.params import Settings
from pipeline.errors import WeightsError
from pipeline.files import file_digest, is_file, notices, replace_folder
from pipeline.params import first_refusal
from pipeline.systems import SYSTEMS

SCHEMA = 3
"""Version of the folder's layout and of `model.json`."""

CARD, WORDS = "model.json", "README.md"
NETWORK, DETECTOR = "network.safetensors", "detector.safetensors"
ENCODER = "encoder_{}"

PRETRAINED = Path(__file__).parent / "pretrained" / "audio_speech"
"""The model that comes with the package."""

PACKAGES = ("avemo", "torch", "torchvision", "numpy", "opencv-python-headless", "dlib-bin", "soxr")
"""Whose versions are noted."""


def write_model(
    out: Path,
    networks: tuple[Path, Path | None],
    inputs: InputParams,
    corpus: str,
    metrics: HeldOutScores,
) -> ModelCard:
    """Write a model folder in place of the one that was there.

    Args:
        out: the folder.
        networks: of a fold, or of every clip, as `fuse` saves it, and the detector of the same
            clips where the system reads its features.
        inputs: how inputs are computed.
        corpus: name of the corpus that they were trained on.
        metrics: of the run.

    Raises:
        WeightsError: a file is missing, damaged, or was saved by an older version.
    """
    network, detector = networks
    facts = load_safetensors(network)[1]
    with replace_folder(out) as part:
        shutil.copyfile(network, part / NETWORK)
        if detector is not None:
            if not detector.is_file():
                raise WeightsError(f"{detector}: no such detector; run `dvc repro detect`")
            shutil.copyfile(detector, part / DETECTOR)
        try:
            named = {
                key: json.loads(facts[key])
                for key in (
                    "emotions", "branches", "widths", "pools", "settings", "training_clips",
                )
            }  # fmt: skip
            system, fold = facts["system"], facts["fold"]
        except KeyError as error:
            raise WeightsError(
                f"{network}: says nothing of {error}; run `dvc repro -f fuse`"
            ) from error
        identities = {}
        settings = Settings.load(named["settings"])
        for name in settings.frozen_networks(system):
            weights = resolve(name, inputs.embed)
            identities[name] = weights.identity
            own = name in PANNS and inputs.embed.weights != PUBLISHED
            if weights.path is not None and own:
                save_safetensors(part / f"{name}.safetensors", read_state(weights.path))
        if "face_embeddings" in SYSTEMS[system].reads:
            for number, name in enumerate(settings.faces.embeddings):
                place = part / ENCODER.format(number)
                place.mkdir()
                encoder = resolve_encoder(name).files
                for file in (*encoder, *notices(encoder[0].parent)):
                    shutil.copyfile(file, place / file.name)
        files = sorted(path for path in part.rglob("*") if path.is_file())
        card = ModelCard(
            schema_version=SCHEMA,
            system=system,
            corpus=corpus,
            fold=fold,
            inputs=inputs,
            audio_networks=identities,
            metrics=metrics,
            files={p.relative_to(part).as_posix(): file_digest(p) for p in files},
            versions={name: version(name) for name in PACKAGES},
            **named,
        )
        text = card.model_dump_json(indent=2) + "\n"
        (part / CARD).write_text(text, encoding="utf-8")
        (part / WORDS).write_text(describe(card), encoding="utf-8")
    return card


def read_card(folder: Path) -> ModelCard:
    """Read `model.json` and check that the folder's files are those that it names.

    Raises:
        WeightsError: no model, another version, or a file is missing or damaged.
    """
    path = folder / CARD
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; run `dvc repro pack`, or name a model folder")
    try:
        content = json.loads(path.read_bytes())
        version = content["schema_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: not the card of a model ({error})") from error
    if version != SCHEMA:
        raise WeightsError(
            f"{path}: model of version {version!r}, expected {SCHEMA}; run `dvc repro pack` again"
        )
    try:
        card = ModelCard.model_validate(content)
        Settings.load(card.settings)
    except ValidationError as error:
        raise WeightsError(f"{path}: not the card of a model ({first_refusal(error)})") from None
    except ValueError as error:
        raise WeightsError(f"{path}: not the card of a model ({error})") from None
    if NETWORK not in card.files:
        raise WeightsError(f"{path}: names no {NETWORK}, expected its digest; pack it again")
    for name, digest in card.files.items():
        file = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise WeightsError(f"{path}: names {name}, expected files of its own folder")
        if not is_file(file):
            raise WeightsError(f"{file}: missing from the model; copy its whole folder again")
        if file_digest(file) != digest:
            raise WeightsError(f"{file}: sha256 differs from {CARD}; copy its whole folder again")
    return card
