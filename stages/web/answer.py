"""A `Recognition` as parts of a page: words and bars, the film, a chart over time."""

import base64
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from markupsafe import Markup

from models.annotated_video import write_annotated_video
from models.recognition.answers import AROUND_S, HOP_S, Recognition, unbroken
from pipeline.report.chart_style import GRID, INK, MUTED, canvas, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN = 4.4
ROW_IN = 0.34
"""Height of an emotion's row of the chart."""

LEADING, OTHER, SPEECH = "#0d7068", "#a0abb6", "#c47a1c"

GAP_S = 1.0
"""Frames further apart than this are not joined by the line of the speech."""

FINDERS = {"detector": "the model's detector", "dlib": "dlib; the model itself looks at no face"}


def words(answer: Recognition, abstain_below: float) -> Markup:
    """The answer with its confidence, every emotion as a bar, and what was missing."""
    first, second = answer.emotion, answer.runner_up
    p = answer.probabilities
    if answer.abstains:
        head = Markup('<p class="big unsure">unsure</p>')
        text = (
            f"The likeliest word is {first} with {p[first]:.0%}, less than the {abstain_below:.0%} "
            f"from which the model answers; then {second} with {p[second]:.0%}."
        )
    else:
        head = Markup('<p class="big">{} <span>{:.0%}</span></p>').format(first, p[first])
        text = f"{_sureness(answer.confidence)}; then {second} with {p[second]:.0%}."
    bars = Markup("").join(_bar(name, value, name == first) for name, value in p.items())
    facts = Markup("").join(Markup("<li>{}</li>").format(fact) for fact in _facts(answer))
    body = Markup('<p>{}</p><div class="bars">{}</div><ul>{}</ul>').format(text, bars, facts)
    return Markup('<div class="answer">{}{}</div>').format(head, body)


def film(answer: Recognition) -> Markup:
    """The annotated film, held by the page itself so that no file of it stays on the disk."""
    with TemporaryDirectory(prefix="avemo-") as folder:
        path = Path(folder) / "film.mp4"
        write_annotated_video(answer, path)
        content = base64.b64encode(path.read_bytes()).decode()
    return Markup(
        '<video class="film" controls playsinline src="data:video/mp4;base64,{}"></video>'
    ).format(content)


def chart(answer: Recognition) -> Markup:
    """Scores over time, a row for each emotion, and below them how likely the mouth speaks."""
    rows = len(answer.probabilities) + (1 if answer.faces else 0)
    with canvas(WIDTH_IN, 0.5 + ROW_IN * rows) as figure:
        axes = figure.subplots(rows, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axis, emotion in zip(axes, answer.probabilities, strict=False):
            leads = emotion == answer.emotion
            for moments in unbroken(answer.timeline, 2 * HOP_S):
                times = [moment.time_s for moment in moments]
                scores = [moment.probabilities[emotion] for moment in moments]
                axis.fill_between(times, scores, color=LEADING if leads else OTHER, linewidth=0)
            _label(axis, emotion, leads)
        if answer.faces:
            shown = [face for face in answer.faces if face.box is not None]
            for faces in unbroken(shown, GAP_S):
                times = [face.time_s for face in faces]
                axes[-1].fill_between(times, [f.speech for f in faces], color=SPEECH, linewidth=0)
            _label(axes[-1], "mouth speaks", False)
        axes[-1].set_xlim(0, answer.duration_s)
        axes[-1].set_ylim(0, 1)
        axes[-1].set_xlabel("s")
        svg = to_svg(figure, "over-time", f"Scores over time; {answer.emotion} leads.")
    told = f"Scores of the {AROUND_S:.0f} seconds around each moment"
    told += "; below, how likely the mouth speaks" if answer.faces else ""
    return Markup('<div class="chart"><p class="caption">{}.</p>{}</div>').format(told, svg)


def _sureness(confidence: float) -> str:
    """Confidence in words, so that no certainty is read into a figure."""
    if confidence >= 0.9:
        return "The model is sure, which is not to say that it is right"
    return "The model is fairly sure" if confidence >= 0.7 else "The model leans to this"


def _bar(name: str, p: float, leads: bool) -> Markup:
    kind = "leads" if leads else ""
    return Markup(
        '<div class="{}"><b>{}</b><i><u style="width:{:.1f}%"></u></i><em>{:.0%}</em></div>'
    ).format(kind, name, 100 * p, p)


def _facts(answer: Recognition) -> Iterator[str]:
    """What the answer rests on, and what was missing."""
    yield f"{answer.duration_s:.1f} s; answered by the {answer.branch} branch"
    yield "sound heard" if answer.has_sound else "no sound, or silence"
    if answer.face_share is None:
        yield "no picture"
    else:
        finder = FINDERS[answer.face_finder]
        yield f"a face in {answer.face_share:.0%} of {len(answer.faces)} frames, found by {finder}"
    if opinion := answer.face_opinion:
        likeliest = max(opinion, key=opinion.__getitem__)
        yield (
            f"second opinion, from the faces alone: {likeliest}, {opinion[likeliest]:.0%} (of a "
            "network that learned from photographs; not calibrated, and no part of the answer)"
        )
    yield from answer.notes


def _label(axis: "Axes", name: str, leads: bool) -> None:
    colour, weight = (INK, "bold") if leads else (MUTED, "normal")
    axis.set_ylabel(name, rotation=0, ha="right", va="center", color=colour, weight=weight)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.spines["bottom"].set_color(GRID)
