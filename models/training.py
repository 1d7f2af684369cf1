"""The training loop: it knows no model, no loss and no corpus.

Losses come as a named dict and are weighted by a dict with the same keys, so that what is
optimised and what is logged cannot drift apart. A model is trained on the device where it lies;
`accelerate` shares the batches out where `torchrun` starts several processes.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import (
    DataLoaderConfiguration,
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    send_to_device,
)
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import get_total_norm, parameters_to_vector, vector_to_parameters
from torch.utils.data import DataLoader

from models.device import CPU, device_of
from models.resumption import Checkpoint, Progress, Training
from pipeline.errors import TrainingError

Step = Callable[[nn.Module, Any], dict[str, Tensor]]
"""Computes the named scalar losses of one batch."""

OnEpoch = Callable[[int, dict[str, float]], None]
"""Receives the 1-based epoch and the mean of each named loss, `total` among them."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How long and how fast: AdamW with a one-cycle schedule that peaks at `lr`."""

    epochs: int
    lr: float
    weight_decay: float


@dataclass(frozen=True, slots=True)
class ConvexSettings:
    """To the minimum: L-BFGS until no slope is above `tolerance`, for at most `iterations`."""

    iterations: int = 1000
    tolerance: float = 1e-6


LOOK_EVERY = 50
"""Batches of an accelerator between two looks at their losses."""

DIVERGED = 1e4
"""A loss that is so many times that of the first batch, or of 1, comes down no more."""


def fit(
    model: nn.Module,
    batches: DataLoader[Any],
    step: Step,
    weights: Mapping[str, float],
    settings: TrainSettings,
    on_epoch: OnEpoch = lambda epoch, means: None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train `model` in place for a fixed number of epochs and leave it in eval mode.

    Args:
        model: parameters with `requires_grad` are trained, on the device where they lie.
        batches: loader of the training batches (nested lists, tuples and dicts of tensors).
        step: named losses of a batch.
        weights: weight of each named loss; the same keys as `step` returns.
        settings: epochs, peak learning rate, weight decay.
        on_epoch: logging enters here; epochs of an earlier process are told again.
        checkpoint: where a training that is killed goes on, as if it had not been.

    Raises:
        TrainingError: no batches, keys that differ, a loss that is not finite or has diverged, or
            such a parameter.
    """
    if len(batches) == 0:
        raise TrainingError("nothing to train on: got 0 batches; check the split and the corpus")
    device = device_of(model)
    accelerator = _accelerator(device)
    count = accelerator.num_processes
    if count > 1 and (batches.batch_size or 1) % count:
        raise TrainingError(
            f"a batch of {batches.batch_size} cannot be shared by {count} processes; start as many "
            "as divide it"
        )
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    prepared, loader = accelerator.prepare(model, batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.lr, total_steps=settings.epochs * len(loader) + 1
    )
    watch = _Watch(1 if device == CPU else LOOK_EVERY, accelerator)
    model.train()
    name = f"{type(model).__name__}, {settings}, {len(loader)} batches, {dict(weights)}"
    training = Training(model, optimizer, schedule, batches.generator, name)
    if count > 1:  # their generators differ, and all would have to load the same epoch
        checkpoint = None
    before = checkpoint.load(training) if checkpoint else Progress()
    _count(len(loader) * len(before.means), before.seconds)
    for epoch, means in enumerate(before.means, start=1):
        on_epoch(epoch, means)
    done, started = list(before.means), time.monotonic() - before.seconds
    for epoch in range(len(done) + 1, settings.epochs + 1):
        watch.begin(f"epoch {epoch} of {settings.epochs}")
        for batch in loader:
            losses = step(prepared, send_to_device(batch, device, non_blocking=True))
            total = weighted_sum(losses, weights)
            watch.add({**losses, "total": total})
            optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(trained, 5.0)
            optimizer.step()
            schedule.step()
        means = watch.means()
        _require_finite(model, f"epoch {epoch} of {settings.epochs}")
        done.append(means)
        if checkpoint:
            checkpoint.save(training, Progress(tuple(done), time.monotonic() - started))
        _count(len(loader))
        on_epoch(epoch, means)
    if count > 1:  # with it goes what DDP has hung upon the parameters; it takes half a second
        accelerator.free_memory()
    model.eval()


def _accelerator(device: torch.device) -> Accelerator:
    """Several processes share each batch, and wait for each other as long as it takes."""
    # e.g. the variances take no part in the loss while they are held
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    patient = InitProcessGroupKwargs(timeout=timedelta(days=30))
    return Accelerator(
        device_placement=False,
        mixed_precision="no",  # whatever its environment says: losses are not scaled
        cpu=device == CPU,
        dataloader_config=DataLoaderConfiguration(split_batches=True),
        kwargs_handlers=[unused, patient],
    )


class _Watch:
    """The losses of an epoch: their means, and whether they still are what can be learned from.

    Of several processes each looks at the mean over all of them.

    Args:
        look_every: batches between two looks. Each waits for the device; the processor computes
            at once, so that a look at each batch comes before its update.
        accelerator: knows the other processes.
    """

    def __init__(self, look_every: int, accelerator: Accelerator) -> None:
        self._look_every, self._accelerator = look_every, accelerator
        self._limit: float | None = None

    def begin(self, epoch: str) -> None:
        """An epoch; `epoch` says which."""
        self._epoch, self._seen = epoch, 0
        self._waiting: list[Tensor] = []
        self._sums: dict[str, float] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count the scalar losses of a batch, `total` among them.

        Raises:
            TrainingError: of this batch or one before, see `look`.
        """
        self._names = tuple(losses)
        self._waiting.append(torch.stack([one.detach() for one in losses.values()]))
        if len(self._waiting) == self._look_every:
            self._look()

    def means(self) -> dict[str, float]:
        """The mean of each loss over the batches of the epoch."""
        self._look()
        return {name: value / self._seen for name, value in self._sums.items()}

    def _look(self) -> None:
        """Raise TrainingError where a loss is not finite, or the total far above the first."""
        if not self._waiting:
            return
        rows = torch.stack(self._waiting)
        if self._accelerator.num_processes > 1:
            rows = self._accelerator.reduce(rows, "mean")
        for values in rows.tolist():
            self._seen += 1
            row = dict(zip(self._names, values, strict=True))
            where = f"{self._epoch}, batch {self._seen}"
            for name, value in row.items():
                if not math.isfinite(value):
                    raise TrainingError(f"{where}: loss {name} is {value}; lower the learning rate")
                self._sums[name] = self._sums.get(name, 0.0) + value
            if self._limit is None:
                self._limit = DIVERGED * max(1.0, abs(row["total"]))
            if row["total"] > self._limit:
                raise TrainingError(
                    f"{where}: the loss diverged to {row['total']:.3g}, {DIVERGED:g} times what it "
                    "was at first; lower the learning rate"
                )
        self._waiting.clear()


def _require_finite(model: nn.Module, where: str) -> None:
    """Refuse a model of which a parameter or statistic is not finite; waits for the device once."""
    values = {n: v for n, v in model.state_dict().items() if v.is_floating_point()}
    if bool(get_total_norm(values.values()).isfinite()):
        return
    # the norm may also be too large for a float
    if name := next((n for n, value in values.items() if not value.isfinite().all()), ""):
        raise TrainingError(
            f"{where}: {name} is not finite after the last update; lower the learning rate"
        )


def minimize(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    step: Step,
    weights: Mapping[str, float],
    settings: ConvexSettings,
    on_epoch: OnEpoch = lambda epoch, means: None,
) -> None:
    """Train `model` in place to the minimum of a convex loss and leave it in eval mode.

    It computes in 64 bits, since in 32 the line search would stall before the minimum, and on the
    processor: its steps are too small to gain from another device.

    Args:
        model: parameters with `requires_grad` are trained.
        batch: all that it is trained on.
        step: named losses of the batch, without chance in them.
        weights: weight of each named loss; the same keys as `step` returns.
        settings: when to stop.
        on_epoch: logging enters here, once an iteration.

    Raises:
        TrainingError: keys that differ, a loss that is not finite, or no minimum found.

    Source: Byrd, Lu, Nocedal and Zhu (1995), L-BFGS-B, as SciPy has it.
    """
    device = device_of(model)
    model.to(CPU).train().double()
    exact = {name: v.double() if v.is_floating_point() else v for name, v in batch.items()}
    trained = [p for p in model.parameters() if p.requires_grad]

    def losses_at(point: NDArray[np.float64]) -> tuple[dict[str, Tensor], Tensor]:
        with torch.no_grad():
            vector_to_parameters(torch.from_numpy(point.copy()), trained)
        losses = step(model, exact)
        for name, value in losses.items():
            if not math.isfinite(value.item()):
                raise TrainingError(f"loss {name} is {value.item()}; check the inputs")
        return losses, weighted_sum(losses, weights)

    def total(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        loss = losses_at(point)[1]
        slopes = torch.autograd.grad(loss, trained)
        return float(loss.detach()), parameters_to_vector(slopes).numpy()

    iteration = count(1)

    def log(point: NDArray[np.float64]) -> None:
        losses, loss = losses_at(point)
        on_epoch(
            next(iteration), {n: float(v.detach()) for n, v in {**losses, "total": loss}.items()}
        )

    # imported here: it takes most of a second, and few phases are convex
    from scipy.optimize import minimize as minimize_smooth

    start = parameters_to_vector(trained).detach().numpy()
    options = {"maxiter": settings.iterations, "gtol": settings.tolerance, "ftol": 0.0}
    found = minimize_smooth(
        total, start, jac=True, method="L-BFGS-B", options=options, callback=log
    )
    # where 64 bits see no further descent, the slope tells whether that is the minimum
    if np.abs(found.jac).max() > 10 * settings.tolerance:
        raise TrainingError(
            f"no minimum within {settings.iterations} iterations; raise the weight of the penalty"
        )
    losses_at(found.x)
    model.float().to(device).eval()


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """sum_k weights[k] * losses[k].

    Raises:
        TrainingError: the keys differ.
    """
    if losses.keys() != weights.keys():
        raise TrainingError(
            f"losses {sorted(losses)} and weights {sorted(weights)}: expected the same names"
        )
    return torch.stack([weights[name] * losses[name] for name in sorted(losses)]).sum()


class Size(NamedTuple):
    """Numbers of parameters: those that training changes, and all."""

    trained: int
    total: int


def describe(network: nn.Module) -> Size:
    """Count the parameters of a network."""
    counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return Size(sum(n for n, trains in counts if trains), sum(n for n, _ in counts))


@dataclass(slots=True)
class Effort:
    """What trainings took.

    Attributes:
        steps: of the optimiser.
        earlier_s: seconds of processes that were killed, whose work was resumed.
    """

    steps: int = 0
    earlier_s: float = 0.0


_efforts: ContextVar[tuple[Effort, ...]] = ContextVar("efforts", default=())


@contextmanager
def measured_effort() -> Iterator[Effort]:
    """What the trainings within the block take by `fit`."""
    effort = Effort()
    token = _efforts.set((*_efforts.get(), effort))
    try:
        yield effort
    finally:
        _efforts.reset(token)


def _count(steps: int, earlier_s: float = 0.0) -> None:
    for effort in _efforts.get():
        effort.steps += steps
        effort.earlier_s += earlier_s


class History:
    """Rows of a training history; `record(...)` gives the callback for `fit`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def record(self, **where: object) -> OnEpoch:
        """A callback that appends one row per epoch, each with the columns of `where`."""

        def on_epoch(epoch: int, means: dict[str, float]) -> None:
            self.rows.append({**where, "epoch": epoch, **means})

        return on_epoch
