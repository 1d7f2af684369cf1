"""Sound alone, by one of the PANNs that learns with the layers over it: `audio.train: all`.

First the layers learn alone, over the embeddings that the stage `embed` stored, as with
`audio.train: head`; then network and layers from waveforms, at a rate of their own.

Source: Kumar et al., "Fine-Tuning Can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022: layers first, then all.
"""

import logging
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.audio.panns import Panns, build, padded_length
from models.audio.weights import load_network, resolve
from models.fusion.branches import AudioNet
from models.fusion.network import SingleNet
from models.systems.inputs import Reader, Store, audio_reader
from models.systems.params import Settings, Widths
from models.systems.recipe import (
    LOSS_NAMES,
    Phase,
    Recipe,
    audio_branch,
    audio_phase,
    branch_step,
)
from models.training import TrainSettings, describe

log = logging.getLogger(__name__)

BYTES_PER_PARAMETER = 16
"""Parameter, slope and both moments of AdamW, in 32 bits."""


class TunedNet(nn.Module):
    """One of the PANNs under the audio branch; both learn.

    Batch norm keeps the statistics that the network came with, so that a clip's embedding depends
    on no other clip of its batch.

    Args:
        panns: waveform [B, T] -> `embedding` [B, D].
        branch: over [B, D + D'], the embedding and hand-crafted statistics behind it.
    """

    def __init__(self, panns: nn.Module, branch: AudioNet) -> None:
        super().__init__()
        self.panns = panns
        self.branch = branch

    def train(self, mode: bool = True) -> "TunedNet":
        """Training mode, but for batch norm."""
        super().train(mode)
        for part in self.panns.modules():
            if isinstance(part, _BatchNorm):
                part.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features [B, H] and logits [B, K].

        They are of `waveform` [B, T], of which the first `waveform_length` [B] samples count, and
        of `handcrafted` [B, D'] where it is read.
        """
        audio = [self._embed(batch["waveform"], batch["waveform_length"])]
        if "handcrafted" in batch:
            audio.append(batch["handcrafted"])
        found: tuple[Tensor, Tensor] = self.branch({"audio": torch.cat(audio, dim=1)})
        return found

    def _embed(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Embeddings [B, D], of clips of one length together: more zeros would change them."""
        padded = torch.tensor([padded_length(length) for length in lengths.tolist()])
        found: dict[int, Tensor] = {}
        for length in padded.unique().tolist():
            rows = (padded == length).nonzero()[:, 0].tolist()
            some = self.panns(waveform[rows, :length])["embedding"]
            found |= dict(zip(rows, some, strict=True))
        return torch.stack([found[row] for row in range(len(waveform))])


def tuned_inputs(settings: Settings) -> tuple[str, ...]:
    """What the network reads, in place of stored embeddings."""
    return ("waveform", "handcrafted") if settings.audio.handcrafted else ("waveform",)


def tuned(network: str, store: Store, settings: Settings) -> Recipe:
    """The recipe of a row whose audio network learns too.

    Args:
        network: name of the audio network.
        store: where embeddings, statistics and sound lie.
        settings: sections of `params.yaml`.

    Raises:
        WeightsError: the network's weights cannot be had.
    """
    params = settings.audio
    embeddings, blocks = audio_reader(store, [network], params.handcrafted)
    readers = {"audio": embeddings, "waveform": waveform_reader(store)}
    if params.handcrafted:
        readers["handcrafted"], _ = audio_reader(store, (), handcrafted=True)
    weights = resolve(network, settings.embed)
    widths = Widths(len(store.emotions), blocks)

    def begin() -> nn.Module:
        # of PANNs by the row's name, never a speech encoder
        return _network(cast(Panns, load_network(weights)), widths, settings)

    layers = audio_phase("branch.branch", params)
    return Recipe(readers, widths, begin, (layers, _phase(settings)))


def tuned_net(network: str, widths: Widths, settings: Settings) -> nn.Module:
    """The network of `tuned`."""
    return _network(build(network), widths, settings)


def waveform_reader(store: Store) -> Reader:
    """Reader of `waveform`, from the file each time: an hour of sound takes 460 MB.

    Raises:
        MediaError: a clip has no sound stored.
    """
    return lambda clip_id: torch.from_numpy(store.waveform(clip_id))


def _network(panns: nn.Module, widths: Widths, settings: Settings) -> nn.Module:
    return SingleNet("audio", TunedNet(panns, audio_branch(widths, settings.audio)))


def _phase(settings: Settings) -> Phase:
    """Train network and layers; the mean loss of `audio.tune_batch` clips takes a step."""
    params = settings.audio
    return Phase(
        "tuning",
        _all_of_it,
        branch_step("audio"),
        {LOSS_NAMES["audio"]: 1.0},
        TrainSettings(params.tune_epochs, params.tune_lr, params.weight_decay),
        tuned_inputs(settings),
        batch_size=params.tune_batch,
    )


def _all_of_it(network: nn.Module) -> nn.Module:
    """Network and layers; says what that takes."""
    trained = describe(network).trained
    log.warning(
        "audio.train all: %.0f M parameters learn from waveforms, which takes %.1f GB of memory "
        "beside the sound of a batch; on a CPU expect seconds for each step",
        trained / 1e6,
        trained * BYTES_PER_PARAMETER / 1e9,
    )
    part: nn.Module = network.branch  # type: ignore[assignment]
    return part
