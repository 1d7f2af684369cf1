"""dvc.yaml, params.yaml and the presets against the code that they speak of."""

import ast
import csv
import re
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.errors import ParamsError
from pipeline.work.closure import PACKAGES, closure, imported_modules
from pipeline.work.closure import PROJECT as ROOT
from stages.cli.app import STAGES as COMMANDS
from stages.cli.app import app
from stages.cli.presets import SECTIONS, apply_preset, check_params

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]


def test_the_stages_are_the_ones_of_the_command_line():
    assert list(STAGES) == list(COMMANDS)
    assert {p.stem for p in (ROOT / "stages").glob("*.py")} >= set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_of_a_stage_hold_its_import_closure_and_none_is_unused(stage):
    code = [dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in PACKAGES]
    needed = closure(f"stages.{stage}")
    assert [p for p in needed if not any(p == d or p.startswith(f"{d}/") for d in code)] == []
    assert [d for d in code if not any(p == d or p.startswith(f"{d}/") for p in needed)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_sections_that_a_stage_reads_are_its_params(stage):
    source = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    read = set(re.findall(r'load_section\(\s*"(\w+)"', source))
    if "load_system(" in source:
        read.add("system")
    if "Facts.read" in source:
        facts = (ROOT / "pipeline" / "report" / "run.py").read_text(encoding="utf-8")
        read |= set(re.findall(r'load_section\(\s*"(\w+)"', facts))
        read |= set(re.findall(r'sections\["(\w+)"\]', facts)) | {"system"}
    assert {entry.split(".")[0] for entry in STAGES[stage].get("params", [])} == read


def test_only_fuse_reads_the_weights_of_the_loss():
    assert [name for name, stage in STAGES.items() if "loss" in stage.get("params", [])] == ["fuse"]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_flow_one_way(package):
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    for path in sorted((ROOT / package).rglob("*.py")):
        for module in imported_modules(str(path.relative_to(ROOT))):
            assert module.split(".")[0] in allowed, f"{path.name} imports {module}"


def test_the_pipeline_package_needs_neither_torch_nor_dlib():
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"torch", "torchvision", "dlib"}, path


@pytest.fixture
def project(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_params_and_both_presets_pass_the_same_validation(project):
    check_params()
    apply_preset("savee", project)
    check_params()
    savee = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    assert savee["corpus"] == {"name": "savee", "root": str(project), "modalities": "auto"}
    assert savee["detector"]["backbone"] == "resnet50"
    assert savee["embed"]["weights"] == "published"
    assert savee["split"]["protocol"] == "paper"


def test_a_preset_keeps_comments_and_there_is_a_way_back(project):
    before = (project / "params.yaml").read_text(encoding="utf-8")
    assert apply_preset("savee", project) > 0
    changed = (project / "params.yaml").read_text(encoding="utf-8")
    assert re.findall("#.*", changed) == re.findall("#.*", before)
    apply_preset("demo", None)
    assert (project / "params.yaml").read_text(encoding="utf-8") == before


def test_a_preset_that_cannot_be_applied_leaves_params_alone(project):
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(ParamsError, match="expected one of demo, savee"):
        apply_preset("saveee", project)
    with pytest.raises(ParamsError, match="--root DIR"):
        apply_preset("savee", None)
    (project / "presets" / "odd.yaml").write_text("corpus: {root: x}\nloss: {alpha: -1}\n")
    with pytest.raises(ParamsError, match=r"loss\.alpha"):
        apply_preset("odd", None)
    assert (project / "params.yaml").read_bytes() == before


def test_a_misspelt_key_is_one_line_that_names_it(project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("  alpha:", "  alhpa:", 1))
    with pytest.raises(ParamsError, match=r"loss\.alhpa: unknown key; expected one of alpha, beta"):
        check_params()


def test_every_section_is_known(project):
    path = project / "params.yaml"
    assert set(yaml.safe_load(path.read_text())) == {"system", *SECTIONS}
    path.write_text(path.read_text() + "fusoin: {}\n")
    with pytest.raises(ParamsError, match="fusoin: unknown section"):
        check_params()


def test_a_preset_refuses_params_that_are_no_yaml(project):
    (project / "params.yaml").write_text("loss: {alpha: 1")
    with pytest.raises(ParamsError, match="not valid YAML"):
        apply_preset("demo", None)


def test_a_stage_called_elsewhere_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="run from the project's folder"):
        CliRunner().invoke(app, ["extract"], catch_exceptions=False)


def test_folds_csv_deals_the_demo_corpus():
    """Without it `split.protocol=folds` would have nothing to run on."""
    folds = {
        row["clip_id"]: row["fold"]
        for row in csv.DictReader((ROOT / "folds.csv").read_text().splitlines())
    }
    assert len(folds) == 112 and len(set(folds.values())) == 3
    by_fold = {fold: {i[3:-2] for i in folds if folds[i] == fold} for fold in folds.values()}
    assert all(len(letters) == 7 for letters in by_fold.values())
