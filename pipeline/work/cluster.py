"""Per-clip work on a Dask cluster, `AVEMO_SCHEDULER=tcp://host:8786`.

A task carries paths, not what lies there: project, recordings and clip cache are in folders that
all machines have under the same paths. It stays bytes until a worker opens it, so that the
scheduler needs no code of ours, and a worker without it can be told.
"""

import hashlib
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import ParamsError
from pipeline.work.closure import PACKAGES, PROJECT

SCHEDULER = "AVEMO_SCHEDULER"
"""Variable that names the scheduler."""

PORT, PATIENCE_S = 8786, 20
"""Of Dask's schedulers, and for one to answer and to have a worker."""

_on_cluster: ContextVar[bool] = ContextVar("on_cluster", default=False)


@dataclass(frozen=True, slots=True)
class Task:
    """A call as a worker gets it.

    Attributes:
        work: what is called, and with what.
        folder: working folder, to which paths are relative.
        code: `code_digest()` of who sent it.
        environment: variables that are set for it.
    """

    work: partial[Any]
    folder: Path
    code: str
    environment: Mapping[str, str]

    def __call__(self) -> Any:
        """Do the work.

        Raises:
            ParamsError: this machine lacks a folder, or this process runs other code.
        """
        token = _on_cluster.set(True)
        try:
            require_shared([self.folder])
            if code_digest() != self.code:
                raise ParamsError(
                    f"{SCHEDULER}: the worker on {socket.gethostname()} runs other code of avemo, "
                    f"from {PROJECT}; start it again, in the environment of this project"
                )
            os.chdir(self.folder)
            os.environ.update(self.environment)
            return self.work()
        finally:
            _on_cluster.reset(token)


def require_shared(paths: Iterable[Path]) -> None:
    """Refuse, on a worker of a cluster, paths that its machine lacks; elsewhere none.

    Raises:
        ParamsError: it lacks one.
    """
    for path in paths if _on_cluster.get() else ():
        if not path.exists():
            raise ParamsError(
                f"{SCHEDULER}: the worker on {socket.gethostname()} does not see {path.absolute()};"
                " put project, recordings and AVEMO_CACHE into folders that all machines have "
                "under the same paths"
            )


@cache
def code_digest() -> str:
    """SHA-256 of the code as it lay there when this process first asked."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(PROJECT).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def open_cluster(scheduler: str, environment: Mapping[str, str]) -> Iterator[Executor]:
    """An executor on the workers of a scheduler; what is left undone is cancelled on exit.

    Args:
        scheduler: its address.
        environment: variables that are set for its workers.

    Raises:
        ParamsError: `distributed` is not installed, no scheduler answers, it has no worker, or one
            of several threads.
    """
    if find_spec("distributed") is None:
        raise ParamsError(
            f"{SCHEDULER}={scheduler}: the package `distributed` is not installed; "
            f"run `pip install avemo[cluster]` or unset {SCHEDULER}"
        )
    from distributed import Client

    try:
        address = urlsplit(scheduler if "://" in scheduler else f"tcp://{scheduler}")
        # a client that has to wait for an answer takes long to give up, and complains of it
        socket.create_connection((address.hostname, address.port or PORT), PATIENCE_S).close()
        client = Client(scheduler, timeout=PATIENCE_S)
    except (OSError, ValueError) as error:
        raise ParamsError(
            f"{SCHEDULER}={scheduler}: no scheduler answers ({error}); run `dask scheduler`, and "
            f"give the address that it prints, or unset {SCHEDULER}"
        ) from error
    with client:
        with suppress(TimeoutError):  # those that were lost begin anew
            client.wait_for_workers(1, PATIENCE_S)
        threads = client.nthreads().values()
        if not threads or max(threads) > 1:  # dlib bears no second thread
            got = f"a worker of {max(threads)} threads" if threads else "no worker"
            raise ParamsError(
                f"{SCHEDULER}={scheduler}: got {got}, expected workers of one thread; run `dask "
                f"worker {scheduler} --nthreads 1` in the environment of this project"
            )
        executor = _Cluster(client.get_executor(pure=False), environment)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


class _Cluster(Executor):
    """Dask's executor, whose tasks are `Task`s and whose failures are ours."""

    def __init__(self, inner: Executor, environment: Mapping[str, str]) -> None:
        self._inner, self._environment, self._open = inner, environment, _opener()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        task = Task(partial(fn, *args, **kwargs), Path.cwd(), code_digest(), self._environment)
        outer: Future[Any] = Future()
        inner = self._inner.submit(self._open, pickle.dumps(task))
        inner.add_done_callback(lambda done: _settle(outer, done))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._inner.shutdown(wait=wait)


def _opener() -> Callable[[bytes], Any]:
    """What opens a task; a function of no module, which travels as code and not by name."""

    def open_task(content: bytes) -> Any:
        import pickle

        return pickle.loads(content)()  # noqa: S301  made by `submit`, on a cluster of the user's

    return open_task


def _settle(outer: "Future[Any]", inner: "Future[Any]") -> None:
    """Pass on what became of a task."""
    from distributed import KilledWorker

    try:
        outer.set_result(inner.result())
    except CancelledError:
        outer.set_exception(
            ParamsError(f"{SCHEDULER}: the scheduler was lost; what is finished is kept: run again")
        )
    except KilledWorker as error:
        outer.set_exception(BrokenExecutor(str(error)))
    except ModuleNotFoundError as error:
        outer.set_exception(
            ParamsError(
                f"{SCHEDULER}: a worker lacks code ({error}); start it in the environment of this "
                "project"
            )
        )
    except Exception as error:
        outer.set_exception(error)
