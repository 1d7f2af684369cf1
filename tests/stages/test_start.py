"""What a command imports before it works: no large package that it does not use."""

import subprocess
import sys

import pytest

PICTURES = ("torchvision", "dlib", "torch._dynamo")
"""The last one comes with torchvision, and takes longest."""

STARTS = {
    "a model of sound alone answers": (
        "import models.recognition.recognizer\n"
        "from models.systems.registry import row\n"
        "row('audio_speech'), row('audio_compact')",
        (*PICTURES, "scipy", "transformers", "requests", "jinja2"),
    ),
    "the paper's system trains on stored features": (
        "import stages.fuse\nfrom models.systems.registry import row\nrow('av_faster_rcnn')",
        (*PICTURES, "scipy.optimize", "transformers", "torchmetrics"),
    ),
    "sound is embedded": ("import stages.embed", (*PICTURES, "transformers")),
    "a model is packed": ("import stages.pack", (*PICTURES, "transformers", "torchmetrics")),
    "faces are found": ("import stages.annotate", ("torch",)),
    "a report is written": ("import stages.report", ("torch", "dlib", "scipy", "matplotlib")),
}


@pytest.mark.parametrize(("code", "spared"), STARTS.values(), ids=STARTS)
def test_what_is_not_used_is_not_imported(code, spared):
    script = f"{code}\nimport sys\nprint(sorted({set(spared)} & set(sys.modules)))"
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
