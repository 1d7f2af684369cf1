"""Which files of weights a run reads, and where each is looked for; nothing is loaded. No torch.

What fetches them is `models.audio.weights` and, for torchvision's, `models.faces.backbones`; a
test holds that names and addresses are theirs.
"""

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from models.audio.encoders import FACTS, HUB, PACKAGED, WEIGHTS, by_hand, fetched, may_be_on_hub
from models.audio.params import PANNS, EmbedParams
from models.audio.published import PANNS_FILES, weights_folder
from models.expressions.params import DESCRIPTIONS, ENCODERS, WEIGHTS_FILE, FacesParams
from models.faces.params import DetectorParams
from models.systems.baselines.params import BaselineParams

TORCHVISION = "https://download.pytorch.org/models/"

IMAGENET = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet18_light": "resnet18-f37072fd.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "mobilenet_v3": "mobilenet_v3_large-8738ca79.pth",
}
COCO = {
    "resnet50": "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
    "mobilenet_v3": "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
}
KINETICS = {"mc3_18": "mc3_18-a90a0ba3.pth", "r3d_18": "r3d_18-b3b3357e.pth"}
"""torchvision's files by network."""

DOCS = "see docs/weights.md"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Weights of one network that a key of `params.yaml` asks for.

    Attributes:
        key: e.g. `embed.weights`.
        name: of the network.
        places: files that would serve, the first to bring by hand where none is there; none where
            `remedy` says what to do.
        url: where it is published; "" where the user named the place.
        remedy: what to do where it cannot be fetched; "" is to put it at the first of `places`.
    """

    key: str
    name: str
    places: tuple[Path, ...]
    url: str = ""
    remedy: str = ""

    @property
    def found(self) -> Path | None:
        """The first of `places` that is there."""
        return next((place for place in self.places if place.is_file()), None)


def embedding_weights(params: EmbedParams) -> list[WeightFile]:
    """Files that stage `embed` reads: weights of PANNs, all of speech encoders."""
    named = [name for name in params.networks if name not in (*PANNS, *PACKAGED)]
    encoders = [file for name in named for file in _encoder(name)]
    if params.weights == "untrained":
        return encoders
    return [_audio(name, params.weights) for name in params.networks if name in PANNS] + encoders


def detector_weights(params: DetectorParams) -> list[WeightFile]:
    """Files of weights that stage `detect` begins from."""
    if params.weights == "untrained":
        return []
    if params.weights in ("imagenet", "coco"):
        names = IMAGENET if params.weights == "imagenet" else COCO
        return [_torchvision("detector.weights", names[params.backbone])]
    return [WeightFile("detector.weights", params.backbone, (Path(params.weights),))]


def expression_weights(params: FacesParams) -> list[WeightFile]:
    """Files of weights that stage `embed_faces` reads of folders that the user named."""
    return [
        WeightFile("faces.embeddings", f"{name}/{file}", (Path(name) / file,))
        for name in params.embeddings
        if name not in ENCODERS
        for file in (WEIGHTS_FILE, *DESCRIPTIONS)
    ]


def baseline_weights(system: str, params: BaselineParams) -> list[WeightFile]:
    """Files of weights that a system begins from where it is none of ours."""
    if params.weights == "untrained":
        return []
    if system == "av_vaanet":
        names = [KINETICS[params.video_net], IMAGENET["resnet18"]]
    elif system in ("visual_cnn", "visual_cnn_fd", "av_dnn", "av_cnn", "av_cnn_fd"):
        names = [IMAGENET[params.image_net]]
    else:
        names = []
    return [_torchvision("baselines.weights", name) for name in names]


def unavailable(files: Sequence[WeightFile], patience_s: float) -> list[str]:
    """One line for each file that is not there and cannot be fetched.

    Args:
        files: what a run reads.
        patience_s: how long a server may take to answer, in s.
    """
    missing = [file for file in files if file.found is None]
    hosts = {urlsplit(file.url).netloc: file.url for file in missing if file.url}
    answers = {host: _unreachable(url, patience_s) for host, url in hosts.items()}
    lines = []
    for file in missing:
        host = urlsplit(file.url).netloc
        if not file.url:
            lines.append(
                f"{file.key}: {file.places[0]}: no such file of {file.name}; bring it, or set "
                f"{file.key} to another value; {DOCS}"
            )
        elif answers[host]:
            place = f"in {file.places[0].parent}" if file.places else "on this machine"
            remedy = file.remedy or f"fetch {file.url} elsewhere and put it at {file.places[0]}"
            lines.append(
                f"{file.key}: {file.name} is not {place} and {host} cannot be reached "
                f"({answers[host]}); {remedy}; {DOCS}"
            )
    return lines


def torch_folder() -> Path:
    """Where torchvision keeps what it has fetched, as `torch.hub.get_dir` says."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def _audio(network: str, weights: str) -> WeightFile:
    remote = PANNS_FILES[network]
    if weights == "published":
        folder = weights_folder()
        kept = folder / f"{Path(remote.name).stem}.safetensors"
        return WeightFile("embed.weights", network, (folder / remote.name, kept), remote.url)
    chosen = Path(weights)
    names = (f"{network}.safetensors", f"{network}.pth", remote.name)
    places = tuple(chosen / name for name in names) if chosen.is_dir() else (chosen,)
    return WeightFile("embed.weights", network, places)


def _encoder(name: str) -> list[WeightFile]:
    """Files of a speech encoder in a folder, else on the hub."""
    key, files = "embed.networks", ((FACTS[0],), (FACTS[1],), WEIGHTS)
    if not may_be_on_hub(name):
        folder = Path(name)
        return [
            WeightFile(key, f"{name}/{same[0]}", tuple(folder / one for one in same))
            for same in files
        ]
    repository, _, revision = name.partition("@")
    kept = fetched(name)
    url = f"{HUB}/{repository}/resolve/{revision or 'main'}/{FACTS[0]}"
    return [WeightFile(key, name, (kept,) if kept else (), url, by_hand(repository))]


def _torchvision(key: str, name: str) -> WeightFile:
    return WeightFile(key, name, (torch_folder() / name,), TORCHVISION + name)


def _unreachable(url: str, patience_s: float) -> str:
    """Why a server does not answer, "" if it does; through the proxy that a download would use."""
    answer = [f"no answer within {patience_s:g} s"]

    def probe() -> None:
        request = urllib.request.Request(  # noqa: S310  addresses of ours, https
            url, method="HEAD", headers={"User-Agent": "avemo"}
        )
        try:
            urllib.request.urlopen(request, timeout=patience_s).close()  # noqa: S310
            answer[0] = ""
        except urllib.error.HTTPError:
            answer[0] = ""  # it is there; what it says to a real request is another matter
        except (OSError, ValueError) as error:
            answer[0] = str(getattr(error, "reason", error))

    thread = threading.Thread(target=probe, daemon=True)  # looking up a name heeds no timeout
    thread.start()
    thread.join(patience_s)
    return answer[0]
