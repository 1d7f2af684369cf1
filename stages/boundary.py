"""The one boundary at which a stage's errors meet the user."""

import errno
import functools
import gc
import inspect
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from pipeline.errors import AvemoError
from pipeline.files import NOT_WRITABLE
from pipeline.work import occasion
from pipeline.work.alone import alone_at
from pipeline.work.integrity import require_intact
from pipeline.work.ranks import TOGETHER, leave_group, rank, ranks

log = logging.getLogger(__name__)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

MOST = 10
"""Warnings of one kind."""


def run(main: Callable[..., None]) -> None:
    """Parse the command line for a stage's `main`, call it and note the occasion.

    An `AvemoError` becomes one line on stderr and exit code 1; anything else is a bug and keeps
    its traceback.
    """
    configure_logging()
    app = new_app()
    app.command()(_noted(main))
    with_boundary(app)


def _noted(main: Callable[..., None]) -> Callable[..., None]:
    """`main`, between a check of the products that it reads and a note of when and where it ran."""

    @functools.wraps(main)
    def stage(*arguments: object, **options: object) -> None:
        began, started = datetime.now(UTC), time.monotonic()
        name = Path(inspect.getfile(main)).stem
        if os.environ.get("DVC_STAGE"):  # set by DVC: what it wrote is what it noted
            require_intact(name)
        if ranks() > 1 and name not in TOGETHER:
            if rank() > 0:
                return
            log.warning(
                "%s: one of %d processes does it; they share %s alone",
                name, ranks(), " and ".join(TOGETHER),
            )  # fmt: skip
            leave_group()
        if rank() > 0:
            return main(*arguments, **options)
        with alone_at(name):
            main(*arguments, **options)
        occasion.note(name, began, time.monotonic() - started)

    return stage


def new_app(**settings: Any) -> typer.Typer:
    """A Typer app in the one style of all our help pages, by default without completion."""
    plain = {
        "add_completion": False,
        "pretty_exceptions_enable": False,
        "rich_markup_mode": None,
        "context_settings": {"help_option_names": ["-h", "--help"]},
    }
    return typer.Typer(**{**plain, **settings})


def with_boundary(app: Callable[[], object]) -> None:
    """Call `app`; an `AvemoError` becomes one line and exit code 1, Ctrl-C one line and 130.

    So does a disk that is full or may not be written: no bug, and the same wherever we write.
    """
    try:
        app()
    except AvemoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            print(f"error: {error.filename}: {error.strerror}; shorten it", file=sys.stderr)
            sys.exit(1)
        if error.errno not in NOT_WRITABLE:
            raise
        place = error.filename or Path.cwd()
        print(f"error: {place}: {error.strerror}; make room or change permissions", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:  # Typer has caught the interrupt already
            _interrupted()
        raise
    finally:
        gc.freeze()  # or Python, on leaving, would walk torch's objects once more, for 0.6 s


def _interrupted() -> NoReturn:
    print("interrupted; finished clips are kept, run again to go on", file=sys.stderr)
    sys.exit(INTERRUPTED)


class Few(logging.Filter):
    """Lets each message through once, and `MOST` of those from one place in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: set[str] = set()
        self.places: Counter[tuple[str, int]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this message is new, and few of its kind were before; the last one says so."""
        text = record.getMessage()
        place = record.pathname, record.lineno
        if text in self.shown or self.places[place] >= MOST:
            return False
        self.shown.add(text)
        self.places[place] += 1
        if self.places[place] == MOST:
            record.msg, record.args = f"{text}; others of this kind, if any, are not shown", ()
        return True


def configure_logging() -> None:
    """Warnings and above to stderr, one line each, each once, few of a kind."""
    handler = logging.StreamHandler()
    handler.addFilter(Few())
    style = "%(levelname)s: %(message)s"
    logging.basicConfig(format=style, level=logging.WARNING, handlers=[handler])
