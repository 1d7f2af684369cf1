"""The one class and its attributes, as annotation tools ask for them."""

import json
from pathlib import Path

from annotations.voc import FACE, FLAGS
from pipeline.files import atomic_write

LABELMAP = f"# label:color_rgb:parts:actions\nbackground:0,0,0::\n{FACE}:255,96,0::\n"
"""Without it datumaro, and so CVAT's importer, refuses the class `face`."""


def write_labelmap(path: Path) -> None:
    """Write the label map that datumaro and CVAT ask for."""
    with atomic_write(path) as part:
        part.write_text(LABELMAP, encoding="utf-8")


def cvat_labels() -> str:
    """What to paste below `Raw` when a task is made in CVAT.

    It drops every attribute that its label does not name. The first value is that of a new box: ""
    leaves it to the import to say whose face it is.
    """
    texts = ("emotion", "score", "source")
    choices = {"primary": ["", "1", "0"], **{flag: ["0", "1", "2"] for flag in FLAGS}}
    attributes = [_attribute(name, "text", [""]) for name in texts]
    attributes += [_attribute(name, "select", values) for name, values in choices.items()]
    label = {"name": FACE, "color": "#ff6000", "type": "rectangle", "attributes": attributes}
    return json.dumps([label], indent=2) + "\n"


def _attribute(name: str, kind: str, values: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "input_type": kind,
        "mutable": True,
        "values": values,
        "default_value": values[0],
    }
