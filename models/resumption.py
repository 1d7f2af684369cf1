"""Where a training that was killed goes on: its whole state after an epoch, in a file.

A file holds weights, optimiser, schedule and all random generators, so that a resumed training
equals one that was never killed, bit for bit. It is replaced as a whole; one that is damaged or of
another training is put aside with a word, and training begins anew.
"""

import hashlib
import io
import logging
import pickle
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn

from models.device import device_of

log = logging.getLogger(__name__)


class Stateful(Protocol):
    """An optimiser or a schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set its state."""


@dataclass(frozen=True, slots=True)
class Training:
    """What makes up a training.

    Attributes:
        model: on one device.
        optimizer: of its parameters.
        schedule: of the learning rate.
        order: generator of the batches; None where they are drawn from torch's global one.
        name: tells it apart from others of the same work.
    """

    model: nn.Module
    optimizer: Stateful
    schedule: Stateful
    order: torch.Generator | None
    name: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is: the mean losses of each epoch, and the seconds that they took."""

    means: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0


class Checkpoint:
    """The file of one training.

    Args:
        path: where it lies; the folder is named after all that decides about the training.
        every_s: seconds of training that are worth a file; 0 writes one after each epoch.
    """

    def __init__(self, path: Path, every_s: float = 0.0) -> None:
        self.path = path
        self._every_s = every_s
        self._saved = time.monotonic()

    def save(self, training: Training, progress: Progress) -> None:
        """Write the state after an epoch, unless the last one was written just now."""
        if time.monotonic() - self._saved < self._every_s:
            return
        content = io.BytesIO()
        torch.save(
            {
                "name": training.name,
                "means": list(progress.means),
                "seconds": progress.seconds,
                "model": training.model.state_dict(),
                "optimizer": training.optimizer.state_dict(),
                "schedule": training.schedule.state_dict(),
                "random": _generators(training),
            },
            content,
        )
        body = content.getbuffer()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")  # the next one overwrites what a kill leaves
        with part.open("wb") as stream:
            stream.write(hashlib.sha256(body).hexdigest().encode() + b"\n")
            stream.write(body)
        with suppress(FileNotFoundError):  # another process of the same work was faster
            part.replace(self.path)
        self._saved = time.monotonic()

    def load(self, training: Training) -> Progress:
        """Set a training to the state that was saved, if there is one.

        Returns:
            How far it is; nothing of the training is changed where it has not begun.
        """
        try:
            digest, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return Progress()
        state = _read(body) if hashlib.sha256(body).hexdigest().encode() == digest else None
        if state is None or state["name"] != training.name or not _fits(state, training.model):
            log.warning("%s: damaged or of another training; it begins anew", self.path)
            self.path.unlink()
            return Progress()
        training.model.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        training.schedule.load_state_dict(state["schedule"])
        _set_generators(training, state["random"])
        return Progress(tuple(state["means"]), state["seconds"])


def _read(body: bytes) -> dict[str, Any] | None:
    try:
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return None
    return state if isinstance(state, dict) else None


def _fits(state: dict[str, Any], model: nn.Module) -> bool:
    found, own = state["model"], model.state_dict()
    return found.keys() == own.keys() and all(found[n].shape == own[n].shape for n in own)


def _generators(training: Training) -> dict[str, Any]:
    device = device_of(training.model)
    kind, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "order": None if training.order is None else training.order.get_state(),
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def _set_generators(training: Training, states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device_of(training.model))
    if training.order is not None:
        training.order.set_state(states["order"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])
