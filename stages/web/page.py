"""The page itself, made with Gradio: where a recording comes from, and its answer beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.corpora.index import SOUND_SUFFIXES, VIDEO_SUFFIXES
from stages.web.desk import Desk

if TYPE_CHECKING:
    from gradio import Blocks

UNANSWERED_S = 600
"""A file that was uploaded and never answered is deleted after so long."""

SAMPLES = Path("data/demo/AudioVisualClip")
"""Recordings to try; there are some once the demo corpus is drawn."""

SAMPLE_COUNT = 8

CAUTION = (
    "It names the label that an actor would have been given, not what a person feels. "
    "**Do not use it to judge people.** Recordings stay on this machine and are deleted after the "
    "answer."
)
WAITING = '<p class="waiting">The answer appears here.</p>'


def samples() -> list[tuple[str, str]]:
    """Names and paths of recordings to try, of all speakers and emotions; none without a demo."""
    found = sorted(SAMPLES.glob("*/*.avi"))
    chosen = found[:: max(1, len(found) // SAMPLE_COUNT)][:SAMPLE_COUNT]
    return [(f"{path.parent.name} {path.stem}", str(path)) for path in chosen]


def build(desk: Desk, note: str, card: str) -> "Blocks":
    """The page.

    Args:
        desk: that answers.
        note: what to know of the model before its first answer.
        card: the model's, in words (Markdown).
    """
    import gradio

    suffixes = sorted(SOUND_SUFFIXES | VIDEO_SUFFIXES)
    with gradio.Blocks(
        title="avemo", analytics_enabled=False, delete_cache=(60, UNANSWERED_S)
    ) as page:
        gradio.Markdown("# Which emotion does this recording show?")
        gradio.Markdown(CAUTION)
        if note:
            gradio.Markdown(f"**Note:** {note}.", elem_classes="note")
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                sources = _sources(suffixes)
            with gradio.Column(scale=3, min_width=300):
                shown = [gradio.HTML(value, padding=False) for value in (WAITING, "", "")]
        for button, source in sources:
            event = button.click(
                desk.answer, source, shown, concurrency_limit=1, api_visibility="private"
            )
            if not isinstance(source, gradio.Radio):  # the file is gone
                event.then(lambda: None, None, source, api_visibility="private")
        with gradio.Accordion("The model's card", open=False):
            gradio.Markdown(card, elem_classes="card")
    return page


def _sources(suffixes: Sequence[str]) -> list[tuple[Any, Any]]:
    """Tabs for a file, the camera, the microphone and the samples: button and source of each."""
    import gradio

    sources: list[tuple[Any, Any]] = []
    with gradio.Tabs():
        with gradio.Tab("File"):
            file = gradio.File(label="Film or sound", file_types=list(suffixes), height=180)
            sources.append((gradio.Button("Answer", variant="primary"), file))
        with gradio.Tab("Camera"):
            mirror = gradio.WebcamOptions(mirror=False)
            camera = gradio.Video(label="Camera", sources=["webcam"], webcam_options=mirror)
            sources.append((gradio.Button("Answer", variant="primary"), camera))
        with gradio.Tab("Voice"):
            sound = gradio.Audio(label="Microphone", sources=["microphone"], type="filepath")
            sources.append((gradio.Button("Answer", variant="primary"), sound))
        with gradio.Tab("Sample"):
            if choices := samples():
                gradio.Markdown("Of the demo corpus: drawn faces, synthetic voices.")
                sample = gradio.Radio(choices, value=choices[0][1], label="Sample")
                sources.append((gradio.Button("Answer", variant="primary"), sample))
            else:
                gradio.Markdown("None here: `dvc repro demo` draws some.")
    return sources
