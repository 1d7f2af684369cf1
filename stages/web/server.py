"""Serves the page to this machine alone, and sees to it that nothing of it goes elsewhere.

Uploads lie in a temporary folder, which goes when the server ends. Gradio's calls home are off, and
pages may load nothing from other places.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.recognition.recognizer import Recognizer
from stages.web.desk import Desk
from stages.web.page import build

LARGEST = "100mb"
"""Of an upload: two minutes of film from a telephone."""

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'"
)
"""What a page may load: from here, and what it holds itself; Gradio's own scripts are inline."""

CSS = Path(__file__).with_name("page.css")
FONTS = ("system-ui", "sans-serif")
"""Of the reader's system; Gradio's own would be fetched."""


class LocalOnly:
    """ASGI middleware that forbids pages to load anything from elsewhere."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and add the policy to the head of its answer."""

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await self.app(scope, receive, with_policy)


@contextmanager
def served(recognizer: Recognizer, note: str, card: str, port: int | None) -> Iterator[str]:
    """Serve the page while the block runs; its address.

    Args:
        recognizer: that answers.
        note: what to know of the model before its first answer.
        card: the model's, in words (Markdown).
        port: on 127.0.0.1; None takes a free one.
    """
    with TemporaryDirectory(prefix="avemo-app-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        from gradio.themes import Base
        from starlette.middleware import Middleware

        page = build(Desk(recognizer, Path(folder).resolve()), note, card)
        try:
            yield page.launch(
                server_name="127.0.0.1",
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                max_file_size=LARGEST,
                footer_links=[],
                app_kwargs={"middleware": [Middleware(LocalOnly)]},
                theme=Base(primary_hue="teal", font=FONTS, font_mono="monospace"),
                css=CSS.read_text(encoding="utf-8"),
            )[1]
        finally:
            page.close(verbose=False)
