"""Where the files of a speech encoder are: in the package, in a folder, or on the hub. No torch."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import CorpusError, WeightsError
from pipeline.files import file_digest, is_file, read_json

PACKAGED: Mapping[str, Path] = {"whisper_tiny_en": Path(__file__).parent / "whisper_tiny_en"}
"""Folders of the speech encoders that come with the package."""

FACTS = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of an encoder, as `transformers` keeps them, and its weights, the first that is there."""

SPEECH_HZ = 16_000
"""The rate that encoders are trained at."""

HUB = "https://huggingface.co"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w.-]+)?")
_REVISION = "revision "


@dataclass(frozen=True, slots=True)
class EncoderFiles:
    """A speech encoder on this machine.

    Attributes:
        weights: its weights; the other files lie beside them.
        identity: tells two encoders of one name apart.
    """

    weights: Path
    identity: str


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """What an encoder states of itself; None where it does not."""

    layers: int | None = None
    rate_hz: int | None = None


def find_encoder(name: str, identity: str = "") -> EncoderFiles:
    """The files of a speech encoder, fetched from the hub on first use.

    Args:
        name: one of `PACKAGED`; a folder that holds `FACTS` and `WEIGHTS`; or a name on
            huggingface.co, `owner/name` or `owner/name@revision`.
        identity: of an earlier find. Of the hub, the revision that it notes is fetched; without it
            and without one in the name, the newest.

    Raises:
        WeightsError: there is none, or it cannot be fetched.
    """
    folder = PACKAGED.get(name, Path(name))
    if folder.is_dir():
        return _in_folder(folder)
    if not may_be_on_hub(name):
        raise WeightsError(
            f"{name}: no such folder; expected one that holds {', '.join(FACTS)} and "
            f"{' or '.join(WEIGHTS)}, or a name on huggingface.co: owner/name or "
            "owner/name@revision"
        )
    repository, _, revision = name.partition("@")
    return _on_hub(repository, identity.removeprefix(_REVISION) or revision or None)


def may_be_on_hub(name: str) -> bool:
    """Whether a name is spelt as `owner/name` or `owner/name@revision`, and is no folder here."""
    return _HUB_NAME.fullmatch(name) is not None and not Path(name).is_dir()


def by_hand(repository: str) -> str:
    """How an encoder of the hub comes here without a network."""
    return (
        f"fetch {', '.join(FACTS)} and {' or '.join(WEIGHTS)} of {HUB}/{repository} elsewhere, put "
        "them into a folder and name that in its place, e.g. ./weights/encoder"
    )


def fetched(name: str) -> Path | None:
    """The description of an encoder of the hub, if it is on this machine."""
    from huggingface_hub import try_to_load_from_cache  # 0.2 s, and few name the hub

    repository, _, revision = name.partition("@")
    found = try_to_load_from_cache(repository, FACTS[0], revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def describe_encoder(name: str) -> EncoderFacts:
    """What the description of an encoder states, as far as it is on this machine."""
    config = fetched(name) if may_be_on_hub(name) else PACKAGED.get(name, Path(name)) / FACTS[0]
    return described_in(config.parent) if config else EncoderFacts()


def described_in(folder: Path) -> EncoderFacts:
    """What the files of an encoder in a folder state."""
    network, heard = (_facts(folder / name) for name in FACTS)
    layers = network.get("encoder_layers", network.get("num_hidden_layers"))
    rate_hz = heard.get("sampling_rate")
    return EncoderFacts(
        layers if isinstance(layers, int) else None,
        rate_hz if isinstance(rate_hz, int) else None,
    )


def _facts(path: Path) -> Mapping[str, Any]:
    if not is_file(path):
        return {}
    try:
        return read_json(path, "fetch it again")
    except CorpusError:  # whoever loads it says what it is
        return {}


def _in_folder(folder: Path) -> EncoderFiles:
    facts = [folder / name for name in FACTS]
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    lacking = [path.name for path in facts if not path.is_file()]
    if weights is None:
        lacking.append(" or ".join(WEIGHTS))
    if weights is None or lacking:
        raise WeightsError(f"{folder}: no {', '.join(lacking)}; expected a speech encoder's folder")
    digests = "".join(file_digest(path) for path in (*facts, weights))
    return EncoderFiles(weights, f"sha256 {hashlib.sha256(digests.encode()).hexdigest()}")


def _on_hub(repository: str, revision: str | None) -> EncoderFiles:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError
    from huggingface_hub.utils import logging

    shown = logging.get_verbosity()
    logging.set_verbosity_error()  # each attempt, where one line follows that says all
    try:
        config = Path(hf_hub_download(repository, FACTS[0], revision=revision))
        commit = config.parent.name
        hf_hub_download(repository, FACTS[1], revision=commit)
        try:
            weights = hf_hub_download(repository, WEIGHTS[0], revision=commit)
        except EntryNotFoundError:
            weights = hf_hub_download(repository, WEIGHTS[1], revision=commit)
    except (OSError, HFValidationError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{repository}: no such folder, and it cannot be fetched from huggingface.co "
            f"({reason}); {by_hand(repository)}"
        ) from error
    finally:
        logging.set_verbosity(shown)
    return EncoderFiles(Path(weights), _REVISION + commit)
