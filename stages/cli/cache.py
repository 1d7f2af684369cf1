"""`avemo cache`: see and prune the clip cache."""

import re
import time
from typing import Annotated

import typer

from pipeline.errors import ParamsError
from pipeline.work.entries import Entry, cache_folder, remove_entry, survey, sweep
from stages.boundary import new_app

app = new_app(no_args_is_help=True, help="See and prune the clip cache of finished work.")

DAY_S = 86_400.0
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@app.command()
def show() -> None:
    """Print where the cache lies, its size, and entries and last use by stage."""
    folder = cache_folder()
    entries = survey(folder)
    print(f"{folder}: {_count(len(entries))}, {_size(entries)}")
    for stage in sorted({entry.stage for entry in entries}):
        own = [entry for entry in entries if entry.stage == stage]
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(own[-1].used))
        print(f"  {stage:<10} {_count(len(own)):>14} {_size(own):>10}  last used {used}")


@app.command()
def prune(
    older_than: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="Delete what was not used for so many days."),
    ] = None,
    max_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Delete the longest unused until 500M, 2G ... fit.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Delete all entries.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, delete nothing.")
    ] = False,
) -> None:
    """Delete entries of the cache. What is needed again is made again.

    What killed runs left behind goes in any case. Do not prune while a stage runs.
    """
    if older_than is None and not max_size and not everything:
        raise ParamsError("avemo cache prune: expected --older-than, --max-size or --all")
    folder = cache_folder()
    entries = survey(folder)
    chosen = _chosen(entries, older_than, _bytes(max_size), everything)
    if not dry_run:
        for entry in chosen:
            remove_entry(entry.folder)
        sweep(folder)
    verb = "would delete" if dry_run else "deleted"
    kept = len(entries) - len(chosen)
    print(f"{folder}: {verb} {_count(len(chosen))}, {_size(chosen)}; {kept} stay")


def _chosen(
    entries: list[Entry], older_than: float | None, max_bytes: int | None, everything: bool
) -> list[Entry]:
    if everything:
        return entries
    limit = None if older_than is None else time.time() - older_than * DAY_S
    chosen, left = [], sum(entry.size for entry in entries)
    for entry in entries:  # the longest unused first
        too_old = limit is not None and entry.used < limit
        if too_old or (max_bytes is not None and left > max_bytes):
            chosen.append(entry)
            left -= entry.size
    return chosen


def _bytes(text: str) -> int | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ParamsError(f"--max-size: got {text[:40]!r}, expected a size such as 500M or 2G")
    return int(float(match[1]) * 1024 ** _UNITS[match[2].upper()])


def _count(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"


def _size(entries: list[Entry]) -> str:
    size = float(sum(entry.size for entry in entries))
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
