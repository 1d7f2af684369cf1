"""The one boundary at which a stage's errors meet the user."""

import logging
import os
import sys
from collections.abc import Callable

import typer

from pipeline.errors import AvemoError


def run(main: Callable[..., None]) -> None:
    """Parse the command line for `main` and call it.

    An `AvemoError` becomes one line on stderr and exit code 1; anything else is a bug and keeps
    its traceback. The process ends at once: Python would take torch's modules apart for more than
    a second, in each stage.
    """
    configure_logging()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        with_boundary(app)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)


def with_boundary(app: Callable[[], object]) -> None:
    """Call `app` and turn an `AvemoError` into one line and exit code 1."""
    try:
        app()
    except AvemoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def configure_logging() -> None:
    """Warnings and above of our own packages to stderr, one line each."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
