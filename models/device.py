"""The device that networks run on: `AVEMO_DEVICE`, else the best there is.

Like the number of workers it comes from the environment and never from `params.yaml`. A network
works where it lies; only what makes or loads one asks here. Another device gives other last digits,
so that its name is part of the cache keys of what networks make.
"""

import os

import torch

from pipeline.errors import ParamsError
from pipeline.work.cache import Accelerators, WorkOfMany
from pipeline.work.executors import DEVICE
from pipeline.work.ranks import local_rank, ranks

CPU = torch.device("cpu")


def chosen_device() -> torch.device:
    """The device of this process; under `torchrun` each has the next one.

    Raises:
        ParamsError: `AVEMO_DEVICE` names none of this machine.
    """
    devices = chosen_devices()
    return devices[local_rank() % len(devices)]


def chosen_devices() -> tuple[torch.device, ...]:
    """Devices over which a stage shares out its work: one by its number, or all of a kind.

    Raises:
        ParamsError: `AVEMO_DEVICE` names none of this machine.
    """
    there = present()
    by_kind: dict[str, list[torch.device]] = {}
    for device in there:
        by_kind.setdefault(device.type, []).append(device)
    asked = os.environ.get(DEVICE) or there[0].type
    if asked in by_kind:
        return tuple(by_kind[asked])
    by_name = {str(device): device for device in there}
    if asked in by_name:
        return (by_name[asked],)
    raise ParamsError(
        f"{DEVICE}: got {asked!r}, this machine has {', '.join(by_name)}; unset it to use the best"
    )


def present() -> tuple[torch.device, ...]:
    """Devices of this machine, the best first; the CPU last."""
    cards = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    metal = [torch.device("mps")] if torch.backends.mps.is_available() else []
    return (*cards, *metal, CPU)


def accelerators(work: WorkOfMany | None = None, at_once: int = 1) -> Accelerators | None:
    """The chosen devices for a `ClipCache`; None where cores of the processor share out the work.

    Under `torchrun` the one of this process: the others work on the same.

    Args:
        work: does many jobs at once; None: one after the other.
        at_once: the most jobs that a worker is given at once.
    """
    devices = chosen_devices() if ranks() == 1 else (chosen_device(),)
    if devices[0] == CPU and ranks() == 1:
        return None
    return Accelerators(tuple(map(str, devices)), work, at_once)


def device_facts() -> dict[str, object]:
    """What of the chosen devices changes results, for cache keys: their names."""
    return {"device": " and ".join(sorted({device_name(one) for one in chosen_devices()}))}


def device_name(device: torch.device) -> str:
    """`cpu`, `mps`, or the name of the card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def device_of(network: torch.nn.Module) -> torch.device:
    """Where a network lies."""
    return next(network.parameters()).device
