"""What a user installs is what runs: `pyproject.toml` against the imports of the packages."""

import ast
import re
import sys
import tomllib

from pipeline.work.closure import PACKAGES
from pipeline.work.closure import PROJECT as ROOT

BROUGHT_BY = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "starlette": "gradio",
    "dlib": "dlib-bin",
    "ffmpeg": "ffmpeg-python",
    "ruamel": "ruamel.yaml",
    "yaml": "pyyaml",
}
"""Modules whose package has another name."""
NOT_IMPORTED = {
    "onnx",  # torch.onnx writes with it
    "faster-coco-eval",  # torchmetrics looks for it
    "ruamel-yaml-clib",  # ruamel.yaml looks for it
}


def names(requirements):
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in requirements}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported():
    """Top-level modules that the packages import, without Python's own and ours."""
    found = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - set(PACKAGES)


def test_what_is_imported_is_required_and_the_other_way_round():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = names(project["dependencies"])
    used = {normal(BROUGHT_BY.get(module, module)) for module in imported()}
    extras = project["optional-dependencies"]
    asked_for = names(extras["app"] + extras["cluster"] + extras["export"])
    assert used - required == asked_for - NOT_IMPORTED
    assert (required | asked_for) - used == NOT_IMPORTED
