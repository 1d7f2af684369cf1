"""The clip cache on disk: where it lies, what an entry is, and how it is listed and pruned.

    <cache>/<stage>/<first 2 digits of the key>/<key>/files/...       the products of one job
    <cache>/<stage>/<first 2 digits of the key>/<key>/manifest.json   SHA-256 of each, written last
    <cache>/<stage>/part-<host>-<process>-...                         work in progress
    <cache>/<stage>/unfinished/<key>/...                              state of long work, killed

An entry counts only while its manifest is its own and fits its files byte for byte.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ParamsError
from pipeline.files import abandoned, file_digest, is_forgotten

FILES, MANIFEST, UNFINISHED = "files", "manifest.json", "unfinished"

PART = "part"
"""Kind of the folders of work in progress, see `pipeline.files.new_part`."""

_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# The clip cache of avemo; see `avemo cache`.\n"
)
"""So that backup programs leave the cache out, see https://bford.info/cachedir/."""


def cache_folder(start: Path | None = None) -> Path:
    """The one cache of a repository, absolute.

    `AVEMO_CACHE`, else `.avemo` in the root of the main repository, also from a worktree of it
    and from the workspace of `dvc exp run --temp` or `--queue`; outside of any repository `.avemo`
    of the working folder.

    Args:
        start: working folder; None takes the process's own.
    """
    chosen = os.environ.get("AVEMO_CACHE")
    here = (start or Path.cwd()).resolve()
    return (here / chosen).resolve() if chosen else (_repository(here) or here) / ".avemo"


def _repository(folder: Path) -> Path | None:
    """Root of the main repository that `folder` belongs to."""
    for root in (folder, *folder.parents):
        dot_git = root / ".git"
        if not dot_git.exists():
            continue
        owner = _dvc_owner(root)
        if owner is not None:
            return _repository(owner)
        return root if dot_git.is_dir() else _main_of(root, dot_git)
    return None


def _dvc_owner(root: Path) -> Path | None:
    """The project whose DVC made the temporary workspace `root`; None for any other folder."""
    for folder in root.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return None


def _main_of(root: Path, dot_git: Path) -> Path:
    """The main repository of a worktree; a submodule is its own.

    `.git` of a worktree is a file that names its Git folder; `commondir` in there leads to the
    one that all worktrees share, see gitrepository-layout(5).
    """
    git = (root / dot_git.read_text(encoding="utf-8").partition(":")[2].strip()).resolve()
    try:
        common = (git / (git / "commondir").read_text(encoding="utf-8").strip()).resolve()
    except OSError:
        return root
    return common.parent if common.name == ".git" else common


def prepare(stage: Path) -> None:
    """Make the cache folder of a stage, and sweep what dead processes left in it.

    Raises:
        ParamsError: nothing can be written there.
    """
    try:
        stage.mkdir(parents=True, exist_ok=True)
        for name, text in (("CACHEDIR.TAG", _TAG), (".gitignore", "*\n")):
            path = stage.parent / name
            if not path.exists():
                path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ParamsError(
            f"clip cache {stage.parent}: cannot be written ({error.strerror}); set AVEMO_CACHE to "
            "a folder that can"
        ) from error
    _sweep_stage(stage)


def sweep(cache: Path) -> None:
    """Delete what dead processes left in all stages of a cache."""
    for stage in _folders(cache):
        _sweep_stage(stage)


def _sweep_stage(stage: Path) -> None:
    for part in _abandoned(stage):
        shutil.rmtree(part, ignore_errors=True)


def _abandoned(stage: Path) -> Iterator[Path]:
    """Folders of work in progress whose process is gone, and of work that nobody goes on with."""
    yield from filter(is_forgotten, _folders(stage / UNFINISHED))
    yield from abandoned(stage, PART)


def seal(entry: Path, key: str) -> None:
    """Write the manifest of a finished entry and bring it to the disk."""
    body = json.dumps({"key": key, "files": _digests(entry / FILES)}, sort_keys=True)
    with (entry / MANIFEST).open("w", encoding="utf-8") as stream:
        stream.write(f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}\n")
        stream.flush()
        os.fsync(stream.fileno())


def fault(entry: Path, key: str) -> str | None:
    """What is wrong with an entry, in a few words; None: its products can be used."""
    try:
        content = (entry / MANIFEST).read_bytes()
    except OSError:
        return "it has no manifest"
    digest, _, body = content.partition(b"\n")
    if not body.endswith(b"\n") or hashlib.sha256(body[:-1]).hexdigest().encode() != digest:
        return "its manifest is damaged"
    manifest = json.loads(body)
    if manifest["key"] != key:
        return "it belongs to other work"
    try:
        found = _digests(entry / FILES)
    except OSError as error:
        return f"{error.filename} cannot be read"
    odd = {name for name, _ in found.items() ^ manifest["files"].items()}
    return f"{min(odd)} is damaged, missing or foreign" if odd else None


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def mark_used(entry: Path) -> None:
    """Note that an entry was used now."""
    os.utime(entry / MANIFEST)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as found on disk: its stage, folder, size in bytes and last use, s since 1970."""

    stage: str
    folder: Path
    size: int
    used: float

    @property
    def finished(self) -> bool:
        """Whether it holds products, and not the state of a training that was killed."""
        return self.folder.parent.name != UNFINISHED


def survey(cache: Path) -> list[Entry]:
    """All entries of a cache, whole, damaged or unfinished, sorted by last use; no links."""
    found = (
        _entry(folder)
        for stage in _folders(cache)
        for prefix in _folders(stage)
        for folder in _folders(prefix)
        if re.fullmatch("[0-9a-f]{64}", folder.name)
        and (folder.name.startswith(prefix.name) or prefix.name == UNFINISHED)
    )
    return sorted((entry for entry in found if entry), key=lambda entry: entry.used)


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    try:
        return [one for one in sorted(path.iterdir()) if one.is_dir() and not one.is_symlink()]
    except FileNotFoundError:  # another process has just removed it
        return []


def _entry(folder: Path) -> Entry | None:
    """None where another process changes it just now."""
    try:
        files = [path.lstat() for path in folder.rglob("*") if not path.is_dir()]
        manifest = folder / MANIFEST
        used = (manifest if manifest.is_file() else folder).stat().st_mtime
    except FileNotFoundError:
        return None
    return Entry(folder.parents[1].name, folder, sum(one.st_size for one in files), used)


def remove_entry(entry: Path) -> None:
    """Delete an entry; its manifest goes first, so that none is left half and trusted."""
    (entry / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(entry, ignore_errors=True)
