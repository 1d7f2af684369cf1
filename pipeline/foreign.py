"""Files that others wrote: tables from whatever program, and pointers in place of files."""

import csv
import io
import logging
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.errors import CorpusError
from pipeline.files import entry

_LFS = b"version https://git-lfs.github.com/spec/"
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_DELIMITERS = ",;\t"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a header.

    `columns` in lower case; `rows` by line, the first being line 1, without empty ones. Names and
    entries have no blanks around them; an entry that a row lacks is "".
    """

    columns: tuple[str, ...]
    rows: dict[int, dict[str, str]]


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what Git leaves in place of one that Git LFS holds."""
    with path.open("rb") as stream:
        return stream.read(len(_LFS)) == _LFS


def read_table(path: Path) -> Table:
    """Read a table that a person may have written, in a spreadsheet for one.

    It is UTF-8, UTF-16 or cp1252, with commas, semicolons or tabs between the entries. A warning
    says once which it was taken for where it is not UTF-8: nearly any bytes could be cp1252.

    Raises:
        CorpusError: it is missing, a Git LFS pointer, or no such table.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; expected a table")
    if is_lfs_pointer(path):
        raise CorpusError(
            f"{path}: got a Git LFS pointer, expected the table that it stands for; run "
            "`git lfs pull` there"
        )
    text, encoding = _decoded(path)
    if not encoding.startswith("utf-8"):
        _say_once(path, encoding)
    first, _, rest = text.partition("\n")
    declared = re.fullmatch(r"sep=(.)\s*", first)  # a line that Excel writes and reads
    delimiter = declared[1] if declared else max(_DELIMITERS, key=first.count)
    skipped = 1 if declared else 0
    lines = io.StringIO(rest if declared else text, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        header = next(reader, [])
        columns = tuple(name.strip().lower() for name in header)
        while columns and not columns[-1]:
            columns = columns[:-1]
        twice = [name for name in columns if columns.count(name) > 1]
        if twice:
            raise CorpusError(
                f"{path}: column {twice[0]!r} stands there twice; rename or remove one"
            )
        rows: dict[int, list[str]] = {}
        for row in reader:
            rows[reader.line_num + skipped] = [entry(text.strip()) for text in row]
    except csv.Error as error:
        raise CorpusError(
            f"{path} line {reader.line_num}: not a table ({error}); save it as CSV"
        ) from error
    for line, row in rows.items():
        if any(row[len(columns) :]):
            raise CorpusError(
                f"{path} line {line}: got {len(row)} entries, expected {len(columns)} as in the "
                "first line; put entries that hold a comma between quotes"
            )
    return Table(
        columns,
        {
            line: dict(zip(columns, row + [""] * len(columns), strict=False))
            for line, row in rows.items()
            if any(row)
        },
    )


def same_spelling(name: str) -> str:
    """`name` in one of the spellings that Unicode has for it, as macOS and Windows differ."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """What is equal in two spellings of a name that differ in Unicode, case or blanks around it."""
    return same_spelling(name).strip().casefold()


def printable(text: str) -> str:
    """`text` with an escape for each byte of a file name that is not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _decoded(path: Path) -> tuple[str, str]:
    """The text of a file and the name of its encoding."""
    content = path.read_bytes()
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    for encoding in (marked,) if marked else ("utf-8", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding
    raise CorpusError(
        f"{path}: neither UTF-8, UTF-16 with a mark nor cp1252; expected a table; save it as UTF-8"
    )


@lru_cache
def _say_once(path: Path, encoding: str) -> None:
    logger.warning("%s: not UTF-8, read as %s; save it as UTF-8 if names look odd", path, encoding)
