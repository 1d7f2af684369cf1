"""Answers one recording after the other, of limited size and length, and keeps nothing of them."""

import shutil
from pathlib import Path

from markupsafe import Markup

from models.recognition.recognizer import Recognizer
from pipeline.errors import AvemoError, MediaError
from pipeline.media.probe import probe
from stages.web import answer

LONGEST_S = 120.0
"""A frame costs up to 0.3 s of one core, and the page holds the whole annotated film."""


class Desk:
    """Answers one recording after the other.

    Args:
        recognizer: that answers.
        uploads: folder below which uploads lie; those that were answered are deleted.
    """

    def __init__(self, recognizer: Recognizer, uploads: Path) -> None:
        self.recognizer = recognizer
        self.uploads = uploads

    def answer(self, file: str | None) -> tuple[Markup, Markup, Markup]:
        """Words, film and chart; where it cannot be answered the reason in place of the words."""
        if not file:
            return _refusal("no recording chosen; upload, record or pick one first")
        path = Path(file).resolve()
        try:
            _require_short(path)
            found = self.recognizer.predict(path, over_time=True)
            below = self.recognizer.card.inputs.predict.abstain_below
            return answer.words(found, below), answer.film(found), answer.chart(found)
        except AvemoError as error:
            return _refusal(str(error).replace(str(path), path.name))
        finally:
            self._forget(path)

    def _forget(self, path: Path) -> None:
        """Delete an upload, and the nameless copies that Gradio leaves beside its folder."""
        if path.is_relative_to(self.uploads):
            shutil.rmtree(path.parent)
            for copy in self.uploads.iterdir():
                if copy.is_file():
                    copy.unlink()


def _refusal(why: str) -> tuple[Markup, Markup, Markup]:
    return Markup('<p class="refusal">{}</p>').format(why), Markup(""), Markup("")


def _require_short(path: Path) -> None:
    tracks = probe(path)
    lengths = [track.length_s for track in (*tracks.sounds, tracks.picture) if track]
    if max(lengths, default=0.0) > LONGEST_S:
        raise MediaError(
            f"{path.name}: lasts {max(lengths):.0f} s, expected at most {LONGEST_S:.0f} s; cut it, "
            "or use `avemo predict`"
        )
