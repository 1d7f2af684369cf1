"""The tree as `docs/architecture.md` draws it: rooms in order, no circles, a word on each door."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from pipeline.work.closure import PACKAGES, imported_modules
from pipeline.work.closure import PROJECT as ROOT

FLOORS = {
    "pipeline": (
        "errors", "files", "foreign", "params", "presets", "clips", "splits", "systems",
        "work", "media", "corpora", "scores", "report",
    ),
    "annotations": (
        "params", "box", "truth", "voc", "labels", "image_sets", "corrections", "faces", "review",
    ),
    "models": (
        "checkpoint", "device", "resumption", "losses", "threads", "training", "audio",
        "expressions", "faces", "fusion", "speeds", "systems", "comparison", "model_card",
        "pretrained", "saved_model", "recognition", "annotated_video", "export", "robustness",
    ),
}  # fmt: skip
"""Rooms and files of a package in the order in which they may be imported: each by those after."""

FILES = [
    str(path.relative_to(ROOT))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
]


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imports(path: str) -> set[str]:
    """Modules that a file imports, itself and its parents excepted."""
    own, modules = _module(path), {_module(file) for file in FILES}
    found = {name for name in imported_modules(path) if name in modules}
    return {name for name in found if name != own and not own.startswith(f"{name}.")}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_flow_one_way_between_packages(package):
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    for path in (file for file in FILES if file.startswith(f"{package}/")):
        for module in imported_modules(path):
            assert module.split(".")[0] in allowed, f"{path} imports {module}"


@pytest.mark.parametrize("package", FLOORS)
def test_imports_flow_one_way_inside_a_package(package):
    floors = FLOORS[package]
    there = {path.stem for path in (ROOT / package).iterdir() if path.name != "__pycache__"}
    assert there - {"__init__"} == set(floors), "name every room and file of the package in FLOORS"
    for path in (file for file in FILES if file.startswith(f"{package}/")):
        floor = _module(path).split(".")[1:2]
        for name in _imports(path) if floor else ():
            other = name.split(".")[1:2]
            if name.split(".")[0] == package and other:
                assert floors.index(other[0]) <= floors.index(floor[0]), f"{path} imports {name}"


@pytest.mark.parametrize("package", ["pipeline", "models"])
def test_the_page_on_architecture_lists_rooms_in_the_order_of_imports(package):
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    _, _, rest = page.partition(f"\n    {package}/")
    tree = re.split(r"\n    \S", rest)[0]
    rooms = [FLOORS[package].index(name) for name in re.findall(r"\n {6}(\w+)(?:\.py|/)", tree)]
    assert rooms == sorted(rooms) and len(rooms) > len(FLOORS[package]) / 2


def test_no_module_imports_itself_over_others():
    TopologicalSorter({_module(path): _imports(path) for path in FILES}).prepare()


def test_the_pipeline_package_needs_neither_torch_nor_dlib():
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"torch", "torchvision", "dlib"}, path


@pytest.mark.parametrize("path", [p for p in FILES if Path(p).name == "__init__.py"])
def test_every_package_says_what_is_in_it_and_holds_no_code(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert len((ast.get_docstring(tree) or "").split()) >= 6
    assert len(tree.body) == 1
