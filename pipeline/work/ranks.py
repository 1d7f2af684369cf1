"""The processes that `torchrun` starts for one stage.

They train together where that is worth it; all else, and every file, is the first one's.
"""

import os

TOGETHER = ("detect",)
"""Stages whose trainings the processes share; those of the others take seconds."""

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def ranks() -> int:
    """How many processes there are; 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Which one it is of those of this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def leave_group() -> None:
    """Let this process and those that it starts work as if it were the only one."""
    for name in _VARIABLES:
        os.environ.pop(name, None)
