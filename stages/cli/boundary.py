"""The one boundary at which a stage's errors meet the user."""

import gc
import logging
import sys
from collections.abc import Callable

import typer

from pipeline.errors import AvemoError


def run(main: Callable[..., None]) -> None:
    """Parse the command line for `main` and call it.

    An `AvemoError` becomes one line on stderr and exit code 1; anything else is a bug and keeps
    its traceback.
    """
    configure_logging()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    with_boundary(app)


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
