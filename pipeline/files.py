"""Nothing half-written: files and folders appear whole, under their final name, or not at all.

A table is opened in spreadsheets, which compute what begins with = + - @ or a control character.
Names and texts may be a stranger's: such an entry that is no number is written with an apostrophe
before it, which makes it a text there, and which our readers take off.
"""

import csv
import errno
import hashlib
import json
import math
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from pipeline.errors import CorpusError

Item = TypeVar("Item")

EMPTY_NOTE = "EMPTY.txt"

FORGOTTEN_S = 7 * 86_400.0
"""Age from which work of another machine, or unfinished work, is taken for abandoned."""

NOT_WRITABLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
)  # fmt: skip
"""A full disk, a quota, a limit on files, a read-only file system, a lack of permission."""


_ADDRESS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:)//?")

_NOTICE = re.compile(r"(licen[cs]e|notice|copying)\b", re.IGNORECASE)

_COMPUTED = re.compile(r"'*[=+\-@\t\r\n]")
"""How an entry begins that a spreadsheet computes, or that would be taken for one with a mark."""


def publish(out: Path, files: Iterable[tuple[str, Path]]) -> None:
    """Rebuild the whole folder `out` from copies of finished files.

    Copies, not hard links: a tool that edits a product in place must not reach into the cache.

    Args:
        out: folder to replace.
        files: (name relative to `out`, source file).
    """
    with replace_folder(out) as part:
        parents: set[Path] = set()
        for name, source in files:
            target = part / name
            if target.parent not in parents:
                target.parent.mkdir(parents=True, exist_ok=True)
                parents.add(target.parent)
            shutil.copyfile(source, target)


@contextmanager
def replace_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place when the block succeeds.

    One that would be empty holds a note instead: DVC warns of an empty folder at every command.
    What a killed process has left of an earlier one is deleted.

    Raises:
        CorpusError: `out` is no folder to be replaced: the working folder or one around it, a Git
            repository, a link or a file.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise CorpusError(f"{out}: would be replaced by a folder, and is none; name another")
    if Path.cwd().is_relative_to(out.resolve()) or (out / ".git").exists():
        raise CorpusError(
            f"{out}: would be replaced, with all that is in it; name a folder of its own"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in abandoned(out.parent, f".{out.name}"):
        shutil.rmtree(left, ignore_errors=True)
    part = new_part(out.parent, f".{out.name}")
    try:
        part.chmod(0o755)
        yield part
        if not any(part.iterdir()):
            (part / EMPTY_NOTE).write_text("No clip of this corpus has what would lie here.\n")
        if out.exists():
            shutil.rmtree(out)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def new_part(place: Path, kind: str) -> Path:
    """An empty folder in `place` for work in progress, named after its kind and this process."""
    prefix = f"{kind}-{socket.gethostname()}-{os.getpid()}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=place))


def abandoned(place: Path, kind: str) -> Iterator[Path]:
    """Folders of `new_part` whose process is gone, or which are too old to be anybody's."""
    name = re.compile(rf"{re.escape(kind)}-(?P<host>.+)-(?P<process>\d+)-[^-]+")
    for part in place.iterdir():
        match = name.fullmatch(part.name)
        if match is None:
            continue
        ours = match["host"] == socket.gethostname()
        if (ours and not _alive(int(match["process"]))) or is_forgotten(part):
            yield part


def is_forgotten(folder: Path) -> bool:
    """Whether nobody has touched a folder for `FORGOTTEN_S`."""
    try:
        return time.time() - folder.stat().st_mtime > FORGOTTEN_S
    except FileNotFoundError:
        return False


def _alive(process: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file name beside `path` that takes its place when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[dict[str, object]]) -> None:
    """Write rows as CSV with a header, atomically and with Unix line ends."""
    with (
        atomic_write(path) as part,
        part.open("w", newline="", encoding="utf-8") as stream,
    ):
        write_rows(stream, columns, rows)


def write_rows(
    stream: IO[str], columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write rows as CSV with a header and Unix line ends; no entry is a formula."""
    # ended so, csv puts quotes around carriage returns too, which read back as line ends without
    writer = csv.DictWriter(_UnixLines(stream), columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _as_text(value) for name, value in row.items()} for row in rows)


class _UnixLines:
    """Takes rows one by one and ends them as Unix does."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def _as_text(value: object) -> object:
    if not isinstance(value, str) or not _COMPUTED.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def entry(text: str) -> str:
    """The text that was written as this entry of a table."""
    return text[1:] if text.startswith("'") and _COMPUTED.match(text) else text


def read_table(path: Path, make: Callable[[dict[str, str]], Item], remedy: str) -> list[Item]:
    """Rows of a CSV that a stage wrote; `pipeline.foreign` reads those of other people.

    Args:
        path: the table.
        make: an item of a row, by column; it may raise KeyError, TypeError and ValueError.
        remedy: what brings the table back, e.g. "run `dvc repro detect`".

    Raises:
        CorpusError: there is no such file, it is no such table, or `make` refuses a row.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            try:
                if reader.fieldnames is None:
                    raise ValueError("empty, expected a heading")
                return [make(_whole(row)) for row in reader]
            except KeyError as error:
                raise CorpusError(
                    f"{path} line {reader.line_num}: no column {error.args[0]}; {remedy}"
                ) from error
            except (csv.Error, TypeError, ValueError) as error:
                raise CorpusError(f"{path} line {reader.line_num}: {error}; {remedy}") from error
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file; {remedy}") from error


def _whole(row: dict[str, str]) -> dict[str, str]:
    if None in row or None in row.values():
        raise ValueError("another number of entries than the heading has")
    return {name: entry(text) for name, text in row.items()}


def number(text: str) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"got {text}, expected a finite number")
    return value


def write_json(path: Path, values: Mapping[str, object]) -> None:
    """Write a mapping as indented JSON, atomically."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A mapping that a stage wrote as JSON.

    Raises:
        CorpusError: there is no such file, or it holds something else.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file; {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: not JSON ({error}); {remedy}") from error
    if not isinstance(values, dict):
        raise CorpusError(f"{path}: holds a {type(values).__name__}, not a mapping; {remedy}")
    return values


def rounded(values: Mapping[str, object], decimals: int) -> dict[str, object]:
    """Round the floats of nested mappings; leave out undefined ones, which JSON cannot hold."""
    result: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result[key] = rounded(value, decimals)
        elif not isinstance(value, float):
            result[key] = value
        elif math.isfinite(value):
            result[key] = round(value, decimals)
    return result


def is_file(path: Path) -> bool:
    """Whether there is such a file, whatever the name: none has one that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_address(text: str) -> bool:
    """Whether a text is the address of something on the net, and no path."""
    return _ADDRESS.match(text) is not None and not _exists(Path(text))


UPLOAD = "write it here, and upload it then"
"""What to do instead of naming an address as the place of an output."""


def refuse_address(
    named: Path | str,
    expected: str,
    error: type[Exception],
    remedy: str = "download it and name it",
) -> None:
    """Raise `error` where an address is given for a path.

    Args:
        named: what a user gave; a path has lost a slash of an address, which the message has.
        expected: "file", "folder" or the like.
        error: what to raise.
        remedy: what to do instead.
    """
    if is_address(str(named)):
        address = _ADDRESS.sub(r"\1//", str(named))
        raise error(f"{address}: got an address, expected a {expected} of this machine; {remedy}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def notices(folder: Path) -> list[Path]:
    """The licences and notices that lie in a folder beside what they are about, by name."""
    return sorted(p for p in folder.iterdir() if _NOTICE.match(p.name) and p.is_file())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(path: Path, folders: Iterable[Path]) -> None:
    """Write digest and name, as `<folder>/<file>`, of each file in `folders`, sorted by name.

    Args:
        path: the list.
        folders: folders of files that lie beside the list once all is published.
    """
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    lines = [f"{file_digest(file)}  {file.parent.name}/{file.name}\n" for file in files]
    with atomic_write(path) as part:
        part.write_text("".join(lines), encoding="utf-8")


def differing_from(checksums: Path) -> list[str]:
    """Names in a list of `write_checksums` whose file is gone or not as listed, as listed.

    Raises:
        ValueError: a line is none of such a list.
    """
    odd = []
    for line in checksums.read_text(encoding="utf-8").splitlines():
        digest, name = line.split("  ", 1)
        path = checksums.parent / name
        if not path.is_file() or file_digest(path) != digest:
            odd.append(name)
    return odd
