"""dvc.yaml against the code that it speaks of."""

import csv
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from models.systems.params import Settings
from models.systems.record import Sections
from pipeline.work.closure import PACKAGES, closure
from pipeline.work.closure import PROJECT as ROOT
from stages.cli.app import STAGES as COMMANDS

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]


def test_the_stages_are_the_ones_of_the_command_line():
    assert list(STAGES) == list(COMMANDS)
    assert {p.stem for p in (ROOT / "stages").glob("*.py")} >= set(STAGES)


@pytest.mark.parametrize("stage", [s for s in STAGES if not STAGES[s].get("always_changed")])
def test_deps_of_a_stage_hold_its_import_closure_and_none_is_unused(stage):
    deps = set(STAGES[stage]["deps"]) - {"annotations/corrections"}  # written by people: no code
    code = [dep for dep in deps if dep.split("/")[0] in PACKAGES]
    needed = closure(f"stages.{stage}")
    assert [p for p in needed if not any(p == d or p.startswith(f"{d}/") for d in code)] == []
    assert [d for d in code if not any(p == d or p.startswith(f"{d}/") for p in needed)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_reads_or_writes_clips_does_so_with_their_frames(stage):
    for files in (STAGES[stage].get("deps", []), STAGES[stage]["outs"]):
        assert ("data/clips.csv" in files) == ("data/frames.csv" in files)


def test_clean_removes_every_product_and_no_recording(tmp_path):
    outs = [Path(out) for stage in STAGES.values() for out in stage["outs"]]
    products = [out for out in outs if out.parts[0] == "data"]
    recordings = [Path("data/corpus/a.wav"), Path("data/demo2/a.wav"), Path("results/metrics.json")]
    for path in [*products, *recordings]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for command in (["git", "init", "-q"], ["git", "add", "results"], ["make", "-s", "clean"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    left = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*") if path.is_file()}
    assert set(recordings) <= left and not left & set(products)


@pytest.mark.parametrize("stage", STAGES)
def test_sections_that_a_stage_reads_are_its_params(stage):
    source = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    read = set(re.findall(r'load_section\(\s*"(\w+)"', source))
    if "Sections.read(" in source:
        read |= {f.name for f in (*fields(Sections), *fields(Settings)) if f.name != "settings"}
    if "load_system(" in source:
        read.add("system")
    assert {entry.split(".")[0] for entry in STAGES[stage].get("params", [])} == read


def test_the_headline_metrics_are_in_git_and_no_other_product_is():
    """DVC compares `HEAD` by Git's copy, whoever's processor wrote it."""
    outs = [out for stage in STAGES.values() for out in stage.get("outs", [])]
    command = [
        "git",
        "check-ignore",
        "--no-index",
        *outs,
        "results/metrics.json",
        "dvc_plots/index.html",
    ]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert ignored == [*outs, "dvc_plots/index.html"]
    assert STAGES["fuse"]["metrics"] == [{"results/metrics.json": {"cache": False}}]


def test_only_fuse_reads_the_weights_of_the_loss():
    assert [name for name, stage in STAGES.items() if "loss" in stage.get("params", [])] == ["fuse"]


def test_folds_csv_deals_the_demo_corpus():
    """Without it `split.protocol=folds` would have nothing to run on."""
    folds = {
        row["clip_id"]: row["fold"]
        for row in csv.DictReader((ROOT / "folds.csv").read_text().splitlines())
    }
    assert len(folds) == 112 and len(set(folds.values())) == 3
    by_fold = {fold: {i[3:-2] for i in folds if folds[i] == fold} for fold in folds.values()}
    assert all(len(letters) == 7 for letters in by_fold.values())
