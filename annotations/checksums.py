"""`data/voc/SHA256SUMS`: one small file that changes whenever a frame or an annotation does.

Later stages depend on it in place of the two folders, so that DVC compares one file and not every
frame, some hundred thousand in SAVEE. `sha256sum -c SHA256SUMS` checks the data set wherever it is
copied.
"""

from collections.abc import Iterable
from pathlib import Path

from pipeline.atomic import atomic_write
from pipeline.cache import file_digest


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
