"""`avemo app`: serve the page of `stages.web` until it is interrupted."""

import importlib.util
import signal
import sys
import threading

from models.model_card import describe
from pipeline.errors import AvemoError
from stages.cli.predict import load_model


def main(model: str, port: int | None) -> None:
    """Load a model and serve the page.

    Args:
        model: as in `stages.cli.predict.load_model`.
        port: on 127.0.0.1; None takes a free one.

    Raises:
        AvemoError: Gradio is not installed, or the port is taken.
        WeightsError: the model cannot be read.
    """
    if importlib.util.find_spec("gradio") is None:
        raise AvemoError("avemo app: gradio is not installed; run `pip install 'avemo[app]'`")
    from stages.web.server import served

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that uploads go then, too
    recognizer, note = load_model(model)
    try:
        with served(recognizer, note, describe(recognizer.card), port) as address:
            print(f"{address} (this machine alone; Ctrl-C ends it)", flush=True)
            threading.Event().wait()
    except OSError as error:
        raise AvemoError(f"avemo app: --port {port}: {error}; take another") from error
