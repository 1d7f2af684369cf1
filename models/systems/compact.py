"""Sound alone, by small networks trained end to end from random weights.

In each epoch they hear a random stretch of each clip, changed a little; half of the batches, or as
many as `compact.mixup` says, are mixed within themselves. Auxiliary heads, which training alone
needs, name what else the corpus knows of a clip.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.audio.augment import excerpts, louder_and_noisier, mixed, striped
from models.audio.compact import CompactNet, heard_logmel
from models.audio.front_end import HOP, N_MELS, RATE_HZ
from models.fusion.branches import Standardize
from models.fusion.network import SingleNet
from models.systems.baselines.inputs import Remembered
from models.systems.inputs import Reader, Store
from models.systems.params import CompactParams, Settings, Widths
from models.systems.recipe import LOSS_NAMES, Phase, Recipe, Row
from models.training import Step, TrainSettings
from pipeline.splits import Fold

AUXILIARY = "auxiliary"
"""Name of the loss of the auxiliary heads."""

MIXUP_BETA = 0.4
"""Both parameters of the distribution of shares."""


class WithHeads(nn.Module):
    """The members of a branch, and auxiliary heads over the features of each.

    Args:
        branch: whose members are trained side by side.
        classes: number of answers by head.
    """

    def __init__(self, branch: CompactNet, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.branch = branch
        width = branch.member_width
        self.heads = nn.ModuleList(Heads(width, classes) for _ in branch.members)

    def forward(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """By member logits of a softmax [B, C] over the emotions, `label`, and by head."""
        return [
            {"label": logits, **heads(features)}
            for (features, logits), heads in zip(self.branch.each(batch), self.heads, strict=True)
        ]


class Heads(nn.Module):
    """Logits of a softmax [B, C] by head from features [B, width]."""

    def __init__(self, width: int, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.linear = nn.ModuleDict({name: nn.Linear(width, n) for name, n in classes.items()})

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """By name, [B, C]."""
        return {name: layer(features) for name, layer in self.linear.items()}


def compact(store: Store, fold: Fold, settings: Settings) -> Recipe:
    """The recipe of `audio_compact`."""
    params, widths = settings.compact, Widths(len(store.emotions))
    build = partial(compact_net, widths, settings)
    readers = {"logmel": store.once("logmel", lambda: logmel_reader(store))}
    return Recipe(readers, widths, build, (_phase(params, store, fold),))


def compact_net(widths: Widths, settings: Settings) -> nn.Module:
    """The network of `compact`."""
    params, standardize = settings.compact, Standardize([1] * N_MELS)
    return SingleNet(
        "audio",
        CompactNet(standardize, params.width, params.members, widths.emotions, params.dropout),
    )


def logmel_reader(store: Store) -> Reader:
    """Reader of `logmel`.

    Raises:
        MediaError: a clip has no sound stored.
    """

    def read(clip_id: str) -> Tensor:
        return heard_logmel(torch.from_numpy(store.waveform(clip_id)))

    return Remembered(read)


def known_targets(store: Store, fold: Fold, names: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """What the corpus knows of the training clips of a fold beyond their emotion.

    Args:
        store: whose records tell.
        fold: no other clip than its training clips is looked at.
        names: columns of `data/clips.csv`; one that does not differ between clips is left out.

    Returns:
        By name and clip id a target [C], one-hot; zeros where it is unknown.
    """
    by_id = {record.clip_id: record for record in store.records}
    found = {}
    for name in names:
        values = {clip_id: str(getattr(by_id[clip_id], name)) for clip_id in fold.train}
        classes = sorted(set(values.values()) - {""})
        if len(classes) > 1:
            found[name] = {
                clip_id: torch.tensor([float(value == one) for one in classes])
                for clip_id, value in values.items()
            }
    return found


def _phase(params: CompactParams, store: Store, fold: Fold) -> Phase:
    """Train the branch under its heads, which are left behind."""
    targets = known_targets(store, fold, params.auxiliary)
    classes = {name: len(next(iter(table.values()))) for name, table in targets.items()}

    def part(network: nn.Module) -> nn.Module:
        return WithHeads(cast(CompactNet, network.branch), classes)

    return Phase(
        "compact",
        part,
        _step(params),
        {LOSS_NAMES["audio"]: 1.0, AUXILIARY: params.auxiliary_weight},
        TrainSettings(params.epochs, params.lr, params.weight_decay),
        ("logmel",),
        batch_size=params.batch,
        readers={name: table.__getitem__ for name, table in targets.items()},
    )


def _step(params: CompactParams) -> Step:
    frames = round(params.excerpt_s * RATE_HZ / HOP)

    def step(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logmel, lengths = excerpts(batch["logmel"], batch["logmel_length"], frames)
        logmel = striped(louder_and_noisier(logmel))
        share, partner = draw_mixup(len(logmel), params.mixup)
        lengths = torch.maximum(lengths, lengths[partner])
        logmel = mixed(share, partner, logmel)
        found = network({"logmel": logmel, "logmel_length": lengths})
        emotions = found[0]["label"].shape[1]
        emotion = F.one_hot(batch["label"], emotions).float()
        smooth = (1 - params.smoothing) * emotion + params.smoothing / emotions
        missed = {}
        for name in found[0]:
            target = mixed(share, partner, smooth if name == "label" else batch[name])
            each = [_cross_entropy(one[name], target) for one in found]
            missed[name] = torch.stack(each).mean()
        misfit = missed.pop("label")
        return {LOSS_NAMES["audio"]: misfit, AUXILIARY: sum(missed.values(), misfit.new_zeros(()))}

    return step


def draw_mixup(count: int, probability: float) -> tuple[float, Tensor]:
    """How a batch of `count` clips is mixed: share of each clip itself, and its partner [B].

    With the `probability` of a mixed batch; else each clip stays alone.
    """
    if torch.rand(()).item() >= probability:
        return 1.0, torch.arange(count)
    share = torch.distributions.Beta(MIXUP_BETA, MIXUP_BETA).sample().item()
    return share, torch.randperm(count)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over clips, logits of a softmax and target [B, C]; a target of zeros counts as 0."""
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


ROWS: Mapping[str, Row] = {"audio_compact": Row(compact, compact_net, ("logmel",))}
"""By name in `params.yaml`."""
