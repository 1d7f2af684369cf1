"""What a model says of one clip under one condition, as a worker leaves it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["sound", "picture", "missing", "attack"]
"""Of a condition: which part it harms, or that one is missing, or that gradients are followed."""

CLEAN = "clean"
"""Name of the clip as it is, among the conditions."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        probabilities: of the emotions in the model's order; None where it cannot answer.
        branch: that answered; "" where none can.
        face_share: share of the frames looked at that show a face; None where none is looked for.
        sigma_px: mean standard deviation of the face's box, px; None without a face or a sigma.
    """

    probabilities: tuple[float, ...] | None
    branch: str
    face_share: float | None
    sigma_px: float | None


Answers = Mapping[str, Sequence[Answer]]
"""Of one clip, by condition: one per severity, mildest first; the one of `CLEAN` alone."""


def write_answers(path: Path, answers: Answers) -> None:
    """Write the answers of a clip; the inverse of `read_answers`."""
    values = {name: [asdict(one) for one in own] for name, own in answers.items()}
    path.write_text(json.dumps(values), encoding="utf-8")


def read_answers(path: Path) -> Answers:
    """Read the answers of a clip."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return {name: [_answer(**one) for one in own] for name, own in values.items()}


def _answer(probabilities: Sequence[float] | None, **others: Any) -> Answer:
    return Answer(None if probabilities is None else tuple(probabilities), **others)
