"""The clip cache: per-clip products by content key, outside DVC's outs.

A key hashes all that decides about a product: the payload of the work, with the bytes of every
file that it names, the facts and files of the stage, and the code of the work function's import
closure. Each stage rebuilds its whole output folder from the cache, so that one added clip costs
one clip, a killed stage resumes, and outputs are never stale and never orphaned: an incremental
run equals a clean run, byte for byte.

See `pipeline.work.entries` for where the cache lies. It may be deleted at any time.
"""

import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from pipeline.clips import Reject, require_unique
from pipeline.errors import AvemoError, ParamsError, UnforeseenError
from pipeline.files import NOT_WRITABLE, file_digest, new_part, publish
from pipeline.work.closure import PROJECT, code_digests
from pipeline.work.cluster import require_shared
from pipeline.work.entries import (
    FILES,
    PART,
    UNFINISHED,
    cache_folder,
    fault,
    mark_used,
    prepare,
    remove_entry,
    seal,
)
from pipeline.work.executors import open_executor, worker_count
from pipeline.work.progress import Bar, add_times, task_log
from pipeline.work.scratch import scratch_at

Work = Callable[[Any, Path], None]
"""Writes the products of one job (its payload) into an empty folder."""

WorkOfMany = Callable[[Sequence[tuple[Any, Path]]], Sequence[AvemoError | None]]
"""The same for many jobs at once; of each job the error that it failed with."""

_LOOK_EVERY_S = 0.5
_WRITERS = 32
"""Threads that bring the products of many jobs to the disk."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work.

    Attributes:
        clip_id: what it is called; unique within a run.
        payload: what the work function gets: dataclasses, params sections, mappings, sequences and
            plain values. All of it enters the key; of a `Path` in it, the name and the bytes of
            the file.
        facts: further JSON-able facts that enter the key, for what the payload cannot say.
        steps: how long it takes beside the others, e.g. in frames.
    """

    clip_id: str
    payload: Any
    facts: Mapping[str, object] = field(default_factory=dict)
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Products:
    """What a run left.

    Attributes:
        folders: finished folders by clip id, in the order of the jobs; read only.
        rejects: the jobs that failed.
        cached: how many came from the cache.
    """

    folders: dict[str, Path]
    rejects: list[Reject]
    cached: int

    def complete(self, error: type[AvemoError], unit: str = "clip") -> "Products":
        """The same products.

        Raises:
            AvemoError: a job failed; of the given kind, with the reason of the first.
        """
        if self.rejects:
            first, total = self.rejects[0], len(self.rejects) + len(self.folders)
            raise error(
                f"{len(self.rejects)} of {total} {unit}s failed, the first is {first.clip_id}: "
                f"{first.reason}"
            )
        return self

    def only(self, clip_ids: Collection[str]) -> "Products":
        """The products of some clips."""
        kept = {name: folder for name, folder in self.folders.items() if name in clip_ids}
        return Products(kept, self.rejects, self.cached)

    def publish(self, out: Path, part: str = "") -> None:
        """Rebuild the whole folder `out` from copies of the products.

        Args:
            out: folder to replace.
            part: a file that every job has: it becomes `<clip id><suffix>`; or a sub-folder: its
                files keep their names; or "" for all files.
        """
        publish(out, self._files(part))

    def _files(self, part: str) -> Iterator[tuple[str, Path]]:
        for clip_id, folder in self.folders.items():
            chosen = folder / part
            if chosen.is_file():
                yield f"{clip_id}{chosen.suffix}", chosen
                continue
            for path in sorted(one for one in chosen.rglob("*") if one.is_file()):
                yield path.relative_to(chosen).as_posix(), path


@dataclass(frozen=True, slots=True)
class Source:
    """A file as it was when its bytes were hashed; two are equal only while it is untouched."""

    digest: str
    state: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Order:
    """A job for a worker: its key, the files that the key speaks of, and where to work."""

    work: Work
    payload: Any
    key: str
    entry: Path
    sources: Mapping[Path, Source]
    part: Path

    @property
    def progress(self) -> Path:
        """File in which the worker says how far it is."""
        return self.part.with_suffix(".progress")

    @property
    def scratch(self) -> Path:
        """Folder for the state of long work, beside the entry."""
        return self.entry.parents[1] / UNFINISHED / self.key


@dataclass(frozen=True, slots=True)
class Accelerators:
    """Devices that work in place of the processor's cores, with one worker each.

    Attributes:
        names: theirs, as `AVEMO_DEVICE` takes them.
        work: does many jobs at once; None: one after the other, as on the processor.
        at_once: the most jobs that a worker is given at once.
    """

    names: tuple[str, ...]
    work: WorkOfMany | None = None
    at_once: int = 1


class _SourceChangedError(Exception):
    """A file is not what it was when the key was made; the argument is its path."""


class ClipCache:
    """Products of one work function.

    Args:
        stage: folder of the entries, by the name of the stage in `dvc.yaml`.
        work: a module-level function, called as `work(payload, folder)`.
        facts: what the work depends on beside its payload, e.g. a version; JSON-able.
        files: further files whose bytes enter every key, e.g. a checkpoint.
        ignore: fields of dataclasses and sections in the payload that cannot change a product.
        accelerators: what works in place of the cores; its name belongs into `facts`.
    """

    def __init__(
        self,
        stage: str,
        work: Work,
        *,
        facts: Mapping[str, object] | None = None,
        files: Sequence[Path] = (),
        ignore: Collection[str] = (),
        accelerators: Accelerators | None = None,
    ) -> None:
        self.stage, self._accelerators = stage, accelerators
        self.root = cache_folder() / stage
        self._work, self._files, self._ignore = work, files, ignore
        code = code_digests(work.__module__)
        self._base = {"work": work.__qualname__, "code": code, "facts": dict(facts or {})}

    def key(self, job: Job) -> str:
        """Content key of a job, 64 hexadecimal digits.

        Raises:
            OSError: a file that the payload names cannot be read.
        """
        return self._key(job)[0]

    def missing(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that `run` would do; no entry is touched.

        Raises:
            OSError: a file that a payload names cannot be read.
        """
        orders = ((job, self._order(job, self.root)) for job in jobs)
        return [job for job, order in orders if fault(order.entry, order.key) is not None]

    def run(self, jobs: Sequence[Job], desc: str, unit: str = "clip", step: str = "") -> Products:
        """Do what is not in the cache yet and return the folders of all jobs.

        An `AvemoError` of one job becomes a `Reject`; any other error stops the run. Finished
        jobs stay in the cache whatever happens to the others.

        Args:
            jobs: work to do; clip ids are unique.
            desc: label of the progress bar.
            unit: what is counted.
            step: what a job's steps are, where it has several.
        """
        require_unique([job.clip_id for job in jobs], self.stage)
        prepare(self.root)
        entries: dict[str, Path] = {}
        rejects: list[Reject] = []
        missing: list[tuple[Job, _Order]] = []
        part = new_part(self.root, PART)
        try:
            for number, job in enumerate(jobs):
                try:
                    order = self._order(job, part / str(number))
                except OSError as error:
                    rejects.append(_unreadable(job, error))
                    continue
                entries[job.clip_id] = order.entry
                if self._usable(job, order):
                    mark_used(order.entry)
                else:
                    missing.append((job, order))
            bar = Bar(desc, len(missing), sum(job.steps for job, _ in missing), unit, step or unit)
            failed = self._do(missing, entries, bar) if missing else []
        finally:
            rmtree(part, ignore_errors=True)
        for reject in failed:
            del entries[reject.clip_id]
        rejects = sorted(rejects + failed, key=lambda reject: reject.clip_id)
        folders = {clip_id: entry / FILES for clip_id, entry in entries.items()}
        return Products(folders, rejects, len(entries) + len(failed) - len(missing))

    def _order(self, job: Job, part: Path) -> _Order:
        key, sources = self._key(job)
        return _Order(self._work, job.payload, key, self.root / key[:2] / key, sources, part)

    def _key(self, job: Job) -> tuple[str, dict[Path, Source]]:
        sources: dict[Path, Source] = {}
        files = [_content(path, (), sources)["sha256"] for path in self._files]
        payload = _content(job.payload, self._ignore, sources)
        key = [self._base, files, job.clip_id, payload, dict(job.facts)]
        text = json.dumps(key, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest(), sources

    def _usable(self, job: Job, order: _Order) -> bool:
        if not order.entry.is_dir():
            return False
        reason = fault(order.entry, order.key)
        if reason is None:
            return True
        logger.warning(
            "clip cache, %s of %s: %s; it is made again (%s)",
            self.stage,
            job.clip_id,
            reason,
            order.entry,
        )
        remove_entry(order.entry)
        return False

    def _do(
        self, missing: Sequence[tuple[Job, _Order]], entries: dict[str, Path], bar: Bar
    ) -> list[Reject]:
        """Do all jobs, also where a worker process is lost; the jobs that failed.

        A lost process takes the pool with it. Of the jobs that were begun any may be what killed
        it, so that each is done once more, alone: the one that loses its process again has failed.
        """
        rejects: list[Reject] = []
        left = self._do_together(missing, entries, bar, rejects)
        while left:
            begun = [one for one in left if one[1].part.exists()]
            if not begun:
                raise ParamsError(
                    f"{self.stage}: worker processes end before they begin; free memory, or set "
                    "AVEMO_WORKERS to fewer"
                )
            names = ", ".join(job.clip_id for job, _ in begun)
            logger.warning("%s: a worker process was lost; once more: %s", self.stage, names)
            for job, order in begun:
                rmtree(order.part, ignore_errors=True)
                if self._do_together([(job, order)], entries, bar, rejects):
                    rmtree(order.part, ignore_errors=True)
                    reason = "its worker process was lost twice; is it too large for the memory?"
                    rejects.append(Reject(job.clip_id, str(next(iter(order.sources), "")), reason))
                    bar.finish(job.clip_id, job.steps)
            done = {job.clip_id for job, _ in begun}
            rest = [one for one in left if one[0].clip_id not in done]
            left = self._do_together(rest, entries, bar, rejects)
        bar.close()
        return rejects

    def _do_together(
        self,
        jobs: Sequence[tuple[Job, _Order]],
        entries: dict[str, Path],
        bar: Bar,
        rejects: list[Reject],
    ) -> list[tuple[Job, _Order]]:
        """Do jobs beside each other; those left undone where a worker process was lost."""
        if not jobs:
            return []
        left: list[tuple[Job, _Order]] = []
        again: set[str] = set()
        cards = self._accelerators or Accelerators(())
        size, work = cards.at_once, cards.work
        workers = worker_count() and (len(cards.names) or worker_count())  # 0 stays 0
        groups = [jobs[start : start + size] for start in range(0, len(jobs), size)]
        with open_executor(min(len(groups), workers), cards.names) as executor:
            running: _Running = {}
            for group in groups:
                _submit(executor, group, work, running, left)
            while running:
                done, _ = wait(running, _LOOK_EVERY_S if bar.shown else None, FIRST_COMPLETED)
                bar.look({group[0][0].clip_id: group[0][1].progress for group in running.values()})
                for future in done:
                    group = running.pop(future)
                    try:
                        outcomes = future.result()
                    except BrokenExecutor:
                        left += group
                        continue
                    for (job, order), outcome in zip(group, outcomes, strict=True):
                        if isinstance(outcome, dict):
                            add_times(outcome)
                        elif isinstance(outcome, AvemoError):
                            file = next(iter(order.sources), "")
                            rejects.append(Reject(job.clip_id, str(file), str(outcome)))
                        elif job.clip_id in again:
                            path = outcome.args[0]
                            reason = f"{path}: changes while it is read; run again when it is whole"
                            rejects.append(Reject(job.clip_id, str(path), reason))
                        else:
                            again.add(job.clip_id)
                            try:
                                order = self._order(job, order.part)
                            except OSError as gone:
                                rejects.append(_unreadable(job, gone))
                            else:
                                entries[job.clip_id] = order.entry
                                _submit(executor, [(job, order)], work, running, left)
                                continue
                        bar.finish(job.clip_id, job.steps)
        return left


_Outcome = dict[str, float] | AvemoError | _SourceChangedError
"""Of a job: seconds by phase, or why it was not done."""

_Running = dict[Future[list[_Outcome]], Sequence[tuple[Job, _Order]]]


def _submit(
    executor: Executor,
    group: Sequence[tuple[Job, _Order]],
    work: WorkOfMany | None,
    running: _Running,
    left: list[tuple[Job, _Order]],
) -> None:
    """Add jobs to `running`; to `left` where a lost process has taken the executor with it."""
    orders = [order for _, order in group]
    try:
        running[executor.submit(_do_all, orders, work)] = group
    except BrokenExecutor:
        left += group


def _do_all(orders: Sequence[_Order], work: WorkOfMany | None) -> list[_Outcome]:
    """Work in temporary folders and move them to their places; runs in a worker.

    Args:
        orders: what to do.
        work: does it all at once; None: one after the other.

    Returns:
        The outcome of each.

    Raises:
        ParamsError: a worker of a cluster does not see the files.
    """
    for order in orders:
        require_shared([order.part.parent, *order.sources])
    if work is None:
        return [_do_one(order) for order in orders]
    try:
        return _do_at_once(orders, work)
    except Exception as error:  # of which job, nobody knows
        text = f"{type(error).__name__}: {error}"
        logger.warning("%d jobs at once failed (%s); one after the other", len(orders), text)
        return [_do_one(order) for order in orders]


def _do_at_once(orders: Sequence[_Order], work: WorkOfMany) -> list[_Outcome]:
    outcomes: list[_Outcome] = [{} for _ in orders]
    # another process may have been faster
    begun = [n for n, order in enumerate(orders) if fault(order.entry, order.key) is not None]
    parts = {n: _begin(orders[n]) for n in begun}
    jobs = [(orders[n].payload, parts[n] / FILES) for n in begun]
    try:
        with task_log(orders[0].progress) as log:
            errors = work(jobs)
        seconds = {phase: spent / len(begun) for phase, spent in log.seconds.items()}

        def settle(n: int, error: AvemoError | None) -> _Outcome:
            order = orders[n]
            try:
                _require_unchanged(order.sources)
            except _SourceChangedError as changed:
                return changed
            if error is None:
                _move_to_its_place(order, parts[n])
            return error or seconds

        with ThreadPoolExecutor(_WRITERS) as writers:  # each waits for the disk
            settled = writers.map(settle, begun, errors)
        for n, outcome in zip(begun, settled, strict=True):
            outcomes[n] = outcome
        return outcomes
    finally:
        for n in begun:
            _end(orders[n], parts[n])


def _do_one(order: _Order) -> _Outcome:
    if fault(order.entry, order.key) is None:  # another process was faster
        return {}
    part = order.part
    try:
        part = _begin(order)
        try:
            with task_log(order.progress) as log, scratch_at(order.scratch):
                order.work(order.payload, part / FILES)
        finally:
            # also where the work failed: it may have read half a file
            _require_unchanged(order.sources)
        _move_to_its_place(order, part)
        return log.seconds
    except (AvemoError, _SourceChangedError) as error:
        return error
    except OSError as error:
        if error.errno in NOT_WRITABLE:  # no fault of the clip, and the same for the next one
            error.filename = error.filename or str(order.part)
            raise
        return _unforeseen(error)
    except Exception as error:  # of a library, as a rule, at what a stranger's recording holds
        return _unforeseen(error)
    finally:
        _end(order, part)


def _begin(order: _Order) -> Path:
    """A folder for this attempt alone: one that was given up may still be at work elsewhere."""
    part = order.part / uuid4().hex
    (part / FILES).mkdir(parents=True)
    return part


def _end(order: _Order, part: Path) -> None:
    """Leave nothing of an attempt, nor of the job unless another one is at work on it."""
    rmtree(part, ignore_errors=True)
    with suppress(OSError):
        order.part.rmdir()


def _unforeseen(error: Exception) -> UnforeseenError:
    """An error that is no one's of ours, with the places of our code that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if PROJECT in Path(f.filename).parents and ".venv" not in f.filename]
    places = [f"{Path(f.filename).relative_to(PROJECT)}:{f.lineno}" for f in reversed(ours[-3:])]
    return UnforeseenError(
        f"{type(error).__name__}: {error} (in {' < '.join(places)}); a fault of avemo or of a "
        "library: please report it with the file"
    )


def _move_to_its_place(order: _Order, part: Path) -> None:
    seal(part, order.key)
    order.entry.parent.mkdir(exist_ok=True)
    try:
        part.replace(order.entry)
    except OSError:
        if fault(order.entry, order.key) is not None:
            raise


def _require_unchanged(sources: Mapping[Path, Source]) -> None:
    for path, before in sources.items():
        try:
            now = source(path)
        except OSError:
            now = None
        if now != before:
            raise _SourceChangedError(path)


def _unreadable(job: Job, error: OSError) -> Reject:
    reason = f"{error.filename}: cannot be read ({error.strerror}); check the file"
    return Reject(job.clip_id, str(error.filename), reason)


def source(path: Path) -> Source:
    """A file's digest and state; a file that was not touched since is not read again.

    Raises:
        OSError: it cannot be read.
    """
    found = path.stat()
    state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    return Source(_digest(path.absolute(), state), state)


@lru_cache(maxsize=100_000)
def _digest(path: Path, state: tuple[int, ...]) -> str:
    return file_digest(path)


def _content(value: Any, ignore: Collection[str], sources: dict[Path, Source]) -> Any:
    """A payload as JSON, with the bytes of files in place of their paths, noted in `sources`."""
    if isinstance(value, Path):
        found = sources[value] = source(value)
        return {"file": value.name, "sha256": found.digest}
    names: Sequence[str] | None = None
    if isinstance(value, BaseModel):
        names = tuple(type(value).model_fields)
    elif is_dataclass(value):
        names = [one.name for one in fields(value)]
    if names is not None:
        value = {name: getattr(value, name) for name in names if name not in ignore}
    if isinstance(value, Mapping):
        return {str(name): _content(one, ignore, sources) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_content(one, ignore, sources) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} in a payload: its content cannot enter a key")
