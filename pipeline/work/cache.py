"""The clip cache: per-clip products by content key, outside DVC's outs.

A key hashes the bytes of the clip's source files, the facts and settings of the stage, any model
file, and the code files that `dvc.yaml` lists as deps of the stage. Each stage rebuilds its whole
output folder from the cache, so that one added clip costs one clip, a killed stage resumes, and
outputs are never stale and never orphaned: an incremental run equals a clean run, byte for byte.

The cache lies in `.avemo/` of the working folder, or where `AVEMO_CACHE` says. It may be deleted
at any time.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.clips import Reject, require_unique
from pipeline.errors import AvemoError
from pipeline.files import file_digest
from pipeline.work.executors import open_executor, worker_count
from pipeline.work.progress import track

PROJECT = Path(__file__).parents[2]
"""Folder that holds the code and `dvc.yaml`."""

Work = Callable[[Any, Path], None]
"""Writes the products of one job (its payload) into an empty folder."""


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of per-clip work.

    `sources` are files whose bytes enter the key; `facts` is JSON-able and enters it too;
    `payload` is what the work function gets and must not hold anything that changes the result
    without being in `sources`, `facts` or the cache's settings.
    """

    clip_id: str
    sources: tuple[Path, ...]
    payload: Any
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Products:
    """Finished folders by clip id (read only), the clips that failed, and how many were cached."""

    folders: dict[str, Path]
    rejects: list[Reject]
    cached: int


class ClipCache:
    """Products of one stage.

    Args:
        stage: name of the stage in `dvc.yaml`; its `.py` deps enter every key.
        settings: the params that the work depends on; JSON-able.
        extra_files: further files whose bytes enter every key, e.g. a checkpoint.
    """

    def __init__(
        self, stage: str, settings: Mapping[str, object], extra_files: Sequence[Path] = ()
    ) -> None:
        self.stage = stage
        self.root = Path(os.environ.get("AVEMO_CACHE", ".avemo")).resolve() / stage
        base = {
            "stage": stage,
            "settings": settings,
            "code": {str(path): file_digest(PROJECT / path) for path in stage_code(stage)},
            "files": [file_digest(path) for path in extra_files],
        }
        self._base = _digest_json(base)

    def key(self, job: Job) -> str:
        """Content key of a job, 64 hexadecimal digits."""
        sources = [file_digest(path) for path in job.sources]
        return _digest_json([self._base, job.clip_id, sources, dict(job.facts)])

    def folder(self, key: str) -> Path:
        """Where the products of a key lie."""
        return self.root / key[:2] / key

    def run(self, jobs: Sequence[Job], work: Work, desc: str, unit: str = "clip") -> Products:
        """Do what is not in the cache yet and return the folders of all jobs.

        An `AvemoError` of one job becomes a `Reject`; any other error stops the run. Finished
        jobs stay in the cache whatever happens to the others.

        Args:
            jobs: work to do; clip ids are unique.
            work: a module-level function, called as `work(job.payload, folder)`.
            desc: label of the progress bar.
            unit: what is counted.
        """
        require_unique([job.clip_id for job in jobs], self.stage)
        folders, unreadable = self._locate(jobs)
        missing = [job for job in jobs if job.clip_id in folders]
        missing = [job for job in missing if not folders[job.clip_id].is_dir()]
        cached = len(folders) - len(missing)
        self.root.mkdir(parents=True, exist_ok=True)
        failed = self._do(missing, folders, work, (desc, unit)) if missing else []
        for reject in failed:
            del folders[reject.clip_id]
        rejects = sorted(unreadable + failed, key=lambda reject: reject.clip_id)
        return Products(folders, rejects, cached)

    def _locate(self, jobs: Sequence[Job]) -> tuple[dict[str, Path], list[Reject]]:
        """Folder of each job, and the jobs whose sources cannot be read."""
        folders, rejects = {}, []
        for job in jobs:
            try:
                folders[job.clip_id] = self.folder(self.key(job))
            except OSError as error:
                reason = f"{error.filename}: cannot be read ({error.strerror}); check the file"
                rejects.append(Reject(job.clip_id, str(error.filename), reason))
        return folders, rejects

    def _do(
        self, jobs: list[Job], folders: dict[str, Path], work: Work, label: tuple[str, str]
    ) -> list[Reject]:
        rejects = []
        with open_executor(min(len(jobs), worker_count())) as executor:
            futures: dict[Future[None], Job] = {
                executor.submit(_do_one, work, job.payload, folders[job.clip_id]): job
                for job in jobs
            }
            for future in track(
                as_completed(futures), total=len(jobs), desc=label[0], unit=label[1]
            ):
                job = futures[future]
                try:
                    future.result()
                except AvemoError as error:
                    file = str(job.sources[0]) if job.sources else ""
                    rejects.append(Reject(job.clip_id, file, str(error)))
        return rejects


@lru_cache
def stage_code(stage: str) -> tuple[str, ...]:
    """The Python files of the deps that `dvc.yaml` lists for a stage, relative to `PROJECT`."""
    pipeline = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))
    deps = [PROJECT / dep for dep in pipeline["stages"][stage]["deps"]]
    files = [path for dep in deps if dep.is_dir() for path in dep.rglob("*.py")]
    files += [dep for dep in deps if dep.suffix == ".py"]
    code = (path.relative_to(PROJECT) for path in files)
    packages = ("annotations", "models", "pipeline", "stages")
    return tuple(sorted(path.as_posix() for path in code if path.parts[0] in packages))


def _do_one(work: Work, payload: object, folder: Path) -> None:
    """Run `work` in a temporary folder and move it to its place; runs in a worker."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=folder.parent))
    try:
        work(payload, part)
        part.replace(folder)
    except OSError:
        if not folder.is_dir():  # another worker finished the same key first: fine
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _digest_json(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
