"""Ranges in the comments of params.yaml against those that the models hold."""

import re
import typing

from annotated_types import Ge, Gt, Le, Lt
from project_copy import ROOT

from stages.cli.check import SECTIONS

NUMBER = {"2^63": 2**63}
LINE = re.compile(r"  (?P<key>\w+): +.*# .+ (?P<range>[\[(][-\d.e^]+, [-\d.e^]+[\])])$")


def bounds(field):
    """Lowest, whether it is allowed, highest, whether it is allowed; None if one is missing."""
    metadata = list(field.metadata)
    if typing.get_origin(field.annotation) is tuple:
        metadata += getattr(typing.get_args(field.annotation)[0], "__metadata__", [])
    low = high = None
    for part in (part for item in metadata for part in getattr(item, "metadata", [item])):
        match part:
            case Ge(ge=ge):
                low = ge, True
            case Gt(gt=gt):
                low = gt, False
            case Le(le=le):
                high = le, True
            case Lt(lt=lt):
                high = lt, False
    return (*low, *high) if low and high else None


def stated():
    """Ranges that the comments state, by section and key."""
    found, section = {}, ""
    for line in (ROOT / "params.yaml").read_text().splitlines():
        section = line.partition(":")[0] if re.match(r"\w", line) else section
        if match := LINE.match(line):
            low, high = match["range"][1:-1].split(", ")
            low, high = (NUMBER.get(text) or float(text) for text in (low, high))
            found[section, match["key"]] = (
                low, match["range"][0] == "[", high, match["range"][-1] == "]"
            )  # fmt: skip
    return found


def test_every_number_has_the_range_that_its_comment_states():
    expected = {}
    for name, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            if field.annotation in (int, float) or "int" in str(field.annotation):
                expected[name, key] = bounds(field)
    assert len(expected) > 60 and None not in expected.values()
    assert stated() == expected
