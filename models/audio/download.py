"""Fetch a file of known content over HTTP: resumed, verified, and never half-written."""

import logging
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pooch
from filelock import FileLock

from pipeline.errors import WeightsError

if TYPE_CHECKING:
    from requests import Response

LOGGER = logging.getLogger(__name__)

ATTEMPTS = 5
"""Connections tried before giving up; each resumes where the last one broke off."""
TIMEOUT_S = 30.0
CHUNK = 1 << 16
"""Bytes written at a time: what a transfer that breaks off loses at most."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a server and what is known of its content.

    `md5` is the checksum that the host publishes; `size` in bytes and `sha256` are None where no
    source states them.
    """

    url: str
    name: str
    md5: str
    size: int | None = None
    sha256: str | None = None


def download(remote: Remote, folder: Path, pause_s: float = 2.0) -> Path:
    """Fetch `remote` into `folder` under its name; nothing to do if it is there.

    A transfer that breaks off stays beside the target as `<name>.part`, and the next attempt or
    call asks for the rest only. The file takes its name once size and checksums hold.

    Args:
        remote: what to fetch.
        folder: made if missing.
        pause_s: wait before another attempt, in seconds.

    Returns:
        The file.

    Raises:
        WeightsError: the server cannot be reached, or what it sends is not the file.
    """
    target = folder / remote.name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / f".{remote.name}.lock"
    with FileLock(lock):  # another process may be fetching it, and this one waits
        if not target.exists():
            LOGGER.warning("fetching %s to %s", remote.url, target)
            _fetch(remote, target, pause_s)
    lock.unlink(missing_ok=True)  # whoever makes a new one finds the file in place
    return target


def verify(path: Path, remote: Remote) -> None:
    """Compare a file with what is known of it.

    Raises:
        WeightsError: size or a checksum differs.
    """
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        raise WeightsError(
            f"{path}: {size} bytes, expected {remote.size}; delete it and fetch {remote.url} again"
        )
    for kind in ("md5", "sha256"):
        expected = getattr(remote, kind)
        if expected is None:
            continue
        got = pooch.file_hash(str(path), kind)
        if got != expected:
            raise WeightsError(
                f"{path}: {kind} {got}, expected {expected}; delete it and fetch {remote.url} again"
            )


def _fetch(remote: Remote, target: Path, pause_s: float) -> None:
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        have = _size(part)
        try:
            _append(remote, part, have)
            break
        except OSError as error:  # of the network, or of the disk
            moved = _size(part) != have
            if _size(part) == 0:
                part.unlink(missing_ok=True)
            if attempt == ATTEMPTS or not (moved or _is_passing(error)):
                raise WeightsError(_by_hand(remote, target, error)) from error
            time.sleep(pause_s)
    try:
        verify(part, remote)
    except WeightsError:
        part.unlink()
        raise
    part.replace(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(remote: Remote, part: Path, have: int) -> None:
    """Append what `part` lacks to its `have` bytes; returns once the server says it is whole.

    The transfer is pooch's, which does not resume: hence the range, and the hook that starts over
    where a server does not know ranges.
    """
    from requests import HTTPError  # nobody whose files are there need wait for it

    if remote.size is not None and have >= remote.size:
        return
    headers = {"User-Agent": "avemo", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with part.open("ab") as stream, ExitStack() as opened:

        def received(response: "Response", **_: object) -> None:
            opened.callback(response.close)
            if response.status_code == HTTPStatus.OK:
                stream.truncate(0)

        transfer = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=CHUNK,
            timeout=TIMEOUT_S,
            headers=headers,
            hooks={"response": received},
        )
        try:
            transfer(remote.url, stream, None)
        except HTTPError as error:
            if _status(error) != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            # all bytes were there already; the checksum decides


def _is_passing(error: OSError) -> bool:
    """Whether the server itself is in trouble: not where it is unknown or refuses the request."""
    return _status(error) >= HTTPStatus.INTERNAL_SERVER_ERROR


def _status(error: OSError) -> int:
    """What the server answered; 0 where there is no answer."""
    response = getattr(error, "response", None)
    return 0 if response is None else int(response.status_code)


def _by_hand(remote: Remote, target: Path, error: OSError) -> str:
    return (
        f"{remote.name}: cannot be fetched from {remote.url} ({error}); fetch it elsewhere and "
        f"put it at {target}, or set the weights to `untrained`"
    )
