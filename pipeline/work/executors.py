"""Where per-clip work runs: local processes, or a Dask cluster named by `AVEMO_SCHEDULER`.

Work is written once against `concurrent.futures.Executor`. Worker counts come from the
environment (`AVEMO_WORKERS`) and never from `params.yaml`: they must not change a result. Where
networks run on accelerators there is one worker for each, which finds its name in `AVEMO_DEVICE`.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue

from pipeline.errors import ParamsError
from pipeline.work.cluster import SCHEDULER, open_cluster

OpenExecutor = Callable[[int], AbstractContextManager[Executor]]
"""Gives an executor of so many workers, e.g. `ThreadPoolExecutor`."""

_injected: ContextVar[OpenExecutor | None] = ContextVar("executors", default=None)

DEVICE = "AVEMO_DEVICE"
"""Variable that names the device of networks; `models.device` reads it."""

_SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def worker_count() -> int:
    """Local worker processes: `AVEMO_WORKERS`, else one per usable core.

    Raises:
        ParamsError: `AVEMO_WORKERS` is not a positive whole number.
    """
    value = os.environ.get("AVEMO_WORKERS", "")
    if not value:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if not value.isdigit() or int(value) < 1:
        raise ParamsError(f"AVEMO_WORKERS: got {value!r}, expected a whole number >= 1")
    return int(value)


@contextmanager
def executors_from(opener: OpenExecutor) -> Iterator[None]:
    """Let the work within the block run in executors of one's own."""
    token = _injected.set(opener)
    try:
        yield
    finally:
        _injected.reset(token)


@contextmanager
def open_executor(workers: int | None = None, devices: Sequence[str] = ()) -> Iterator[Executor]:
    """An executor for per-clip work, closed on exit; pending work is cancelled on an error.

    Args:
        workers: local processes; None takes `worker_count()`.
        devices: values of `AVEMO_DEVICE`, one for each local process; none leaves it as it is.

    Raises:
        ParamsError: `AVEMO_SCHEDULER` is set, and no cluster is to be had there.
    """
    opener = _injected.get()
    if opener is not None:
        with opener(workers or worker_count()) as executor:
            yield executor
        return
    scheduler = os.environ.get(SCHEDULER)
    if scheduler:  # its workers have cards of their own; those named here say of which kind
        kind = devices[0].partition(":")[0] if devices else "cpu"
        with open_cluster(scheduler, {DEVICE: kind}) as executor:
            yield executor
        return
    with local_executor(workers or worker_count(), devices) as executor:
        yield executor


@contextmanager
def local_executor(workers: int, devices: Sequence[str] = ()) -> Iterator[Executor]:
    """The same of processes of this machine, whatever the environment says.

    Args:
        workers: processes.
        devices: see `open_executor`.
    """
    # spawn: a forked child would inherit locked thread pools of torch and OpenCV
    context = multiprocessing.get_context("spawn")
    with _single_threaded_children():
        names = context.SimpleQueue()
        for name in devices:
            names.put(name)
        pool = ProcessPoolExecutor(workers, context, _begin_worker, (names,) if devices else ())
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(devices: "SimpleQueue[str] | None" = None) -> None:
    """Bind a worker process to its parent, and to the next of the devices."""
    _end_with_parent()
    if devices is not None:
        os.environ[DEVICE] = devices.get()


def _end_with_parent() -> None:
    """Let this worker end when the process that started it does, however that ends.

    A killed parent closes no pool; its workers would go on with what nobody waits for.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _SINGLE_THREADED}
    os.environ.update(dict.fromkeys(_SINGLE_THREADED, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
