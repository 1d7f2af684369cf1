"""Fetch a file of known content over HTTP: resumed, verified, and never half-written."""

import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import WeightsError
from pipeline.work.progress import track

LOGGER = logging.getLogger(__name__)

ATTEMPTS = 5
"""Connections tried before giving up; each goes on where the last one broke off."""
TIMEOUT_S = 30.0
CHUNK = 1 << 20


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
    part = folder / f"{remote.name}.part"
    LOGGER.warning("fetching %s to %s", remote.url, target)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _append(remote, part)
            break
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS or not _worth_another(error):
                raise WeightsError(_by_hand(remote, target, error)) from error
            time.sleep(pause_s)
    try:
        verify(part, remote)
    except WeightsError:
        part.unlink()
        raise
    part.replace(target)
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
        got = digest(path, kind)
        if got != expected:
            raise WeightsError(
                f"{path}: {kind} {got}, expected {expected}; delete it and fetch {remote.url} again"
            )


def digest(path: Path, kind: str = "sha256") -> str:
    """Hexadecimal checksum of a file; `md5` guards against damage only."""
    with path.open("rb") as stream:
        return hashlib.file_digest(
            stream, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()


def _append(remote: Remote, part: Path) -> None:
    """Append what `part` lacks; returns once the server says it is whole."""
    have = part.stat().st_size if part.exists() else 0
    if remote.size is not None and have >= remote.size:
        return
    headers = {"User-Agent": "avemo"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(remote.url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            with part.open("ab" if resumed else "wb") as stream:
                _copy(response, stream)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # all bytes were there already; the checksum decides


def _copy(response: http.client.HTTPResponse, stream: IO[bytes]) -> None:
    expected, got = response.length, 0
    chunks = iter(lambda: response.read(CHUNK), b"")
    for chunk in track(chunks, total=-(-(expected or 0) // CHUNK), desc="weights", unit="MB"):
        stream.write(chunk)
        got += len(chunk)
    if expected is not None and got < expected:
        raise http.client.IncompleteRead(b"", expected - got)


def _worth_another(error: Exception) -> bool:
    """Whether trying again may help: not where the host is unknown or refuses the request."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    return not isinstance(error, urllib.error.URLError)


def _by_hand(remote: Remote, target: Path, error: Exception) -> str:
    return (
        f"{remote.name}: cannot be fetched from {remote.url} ({error}); fetch it elsewhere and "
        f"put it at {target}, or set the weights to `untrained`"
    )
