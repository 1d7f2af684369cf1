"""The one boundary at which a stage's errors meet the user."""

import functools
import gc
import inspect
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import typer

from pipeline.errors import AvemoError
from pipeline.work import occasion


def run(main: Callable[..., None]) -> None:
    """Parse the command line for a stage's `main`, call it and note the occasion.

    An `AvemoError` becomes one line on stderr and exit code 1; anything else is a bug and keeps
    its traceback.
    """
    configure_logging()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(_noted(main))
    with_boundary(app)


def _noted(main: Callable[..., None]) -> Callable[..., None]:
    """`main`, followed by a note of when, where and how long it ran."""

    @functools.wraps(main)
    def stage(*arguments: object, **options: object) -> None:
        began, started = datetime.now(UTC), time.monotonic()
        main(*arguments, **options)
        occasion.note(Path(inspect.getfile(main)).stem, began, time.monotonic() - started)

    return stage


def with_boundary(app: Callable[[], object]) -> None:
    """Call `app` and turn an `AvemoError` into one line and exit code 1."""
    try:
        app()
    except AvemoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        gc.freeze()  # or Python, on leaving, would walk torch's objects once more, for 0.6 s


def configure_logging() -> None:
    """Warnings and above of our own packages to stderr, one line each."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
