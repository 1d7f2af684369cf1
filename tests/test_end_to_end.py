"""From recordings to metrics through DVC, as a user runs it, on a tiny demo corpus."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_copy import (
    change_digit,
    copy_project,
    dvc,
    environment,
    git,
    set_params,
    stages_run,
    tree,
)

from pipeline.params import differing, read_params
from pipeline.scores.predictions import read_predictions
from pipeline.scores.results import digest_of_test_set

ALL = [
    "demo", "extract", "resample", "annotate", "image_sets", "embed", "detect", "embed_faces",
    "fuse", "pack", "report",
]  # fmt: skip


PER_CLIP = (
    "clips.csv", "frames.csv", "quarantine.csv", "truth", "voc", "audio", "audio32k", "speech.csv",
    "annotation_metrics.json", "embeddings",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run; tests read it, those that change something take `project`."""
    folder = copy_project(tmp_path_factory.mktemp("end-to-end") / "avemo")
    assert stages_run(dvc(folder, "repro")) == ALL
    return folder


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished run, with its history and caches, to change."""
    return Path(shutil.copytree(finished, tmp_path / "avemo", symlinks=True))


def test_every_product_is_there_and_joins(finished):
    metrics = metrics_of(finished)
    branches = read_predictions(finished / "results/predictions.csv")
    assert list(branches) == ["av", "audio", "visual"]
    assert {len(predictions) for predictions in branches.values()} == {7}
    for name, branch in (("accuracy", "av"), ("audio_accuracy", "audio")):
        assert metrics[name] == pytest.approx(branches[branch].correct.mean(), abs=1e-4)
    assert metrics["test_set"] == digest_of_test_set(branches["av"])
    detector = json.loads((finished / "results/detector/metrics.json").read_text())
    assert metrics.get("mean_iou") == detector["mean_iou"]
    scores = scores_of(finished)
    assert set(scores["as_trained"]) == set(branches)
    assert set(scores["weights"]) == {"av"}, "the headline is the network's own answer"
    frames = {p.stem for p in (finished / "data/voc/JPEGImages").iterdir()}
    assert frames == {p.stem for p in (finished / "data/voc/Annotations").iterdir()}
    page = (finished / "results/report.html").read_text()
    assert "demo" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_one_number_runs_what_reads_it_and_a_fresh_clone_loses_nothing(project):
    """What Git holds was run on another processor: other last digits, other hashes."""
    own = {name: (project / name).read_bytes() for name in ("dvc.lock", "results/metrics.json")}
    before = tree(project / "results")
    change_digit(project / "results/metrics.json", '"nll": ')
    change_digit(project / "dvc.lock", "path: results/fusion\n      hash: md5\n      md5: ")
    git(project, "add", "dvc.lock", "results/metrics.json")
    git(project, "commit", "-qm", "Run elsewhere")
    for name, content in own.items():
        (project / name).write_bytes(content)

    params = read_params(project / "params.yaml")
    output = dvc(project, "exp", "run", "-n", "half", "-S", "loss.alpha=0.5")
    assert stages_run(output) == ["fuse", "pack", "report"]
    assert differing(params, read_params(project / "params.yaml")) == {"loss.alpha": ("1.0", "0.5")}
    assert "\n  alpha: 0.5                 # weight" in (project / "params.yaml").read_text()
    assert metrics_diff(project)["nll"]["diff"] != 0
    git(project, "restore", "params.yaml")
    assert stages_run(dvc(project, "repro")) == []
    assert tree(project / "results") == before

    git(project, "add", "dvc.lock", "results/metrics.json")
    git(project, "commit", "-qm", "Baseline")
    assert metrics_diff(project) == {}
    dvc(project, "exp", "apply", "half")
    assert set(metrics_diff(project)) <= set(metrics_of(project))
    half = tree(project / "results")
    assert half != before
    git(project, "restore", ".")
    dvc(project, "checkout")
    assert tree(project / "results") == before
    dvc(project, "exp", "branch", "half", "better")
    git(project, "switch", "-q", "better")
    dvc(project, "checkout")
    assert tree(project / "results") == half
    assert git(project, "status", "--porcelain") == ""


def test_a_run_from_nothing_gives_the_same_bytes(finished, tmp_path):
    """With three worker processes in place of one, and on a machine of more cores."""
    again = copy_project(tmp_path / "again")
    dvc(again, "repro", AVEMO_WORKERS="3", OMP_NUM_THREADS="3", MKL_NUM_THREADS="3")
    for part in ("data", "results"):
        assert tree(again / part) == tree(finished / part)


def test_a_misspelt_key_is_one_line(project):
    kept = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(kept.replace("  alpha: 1.0", "  alhpa: 1.0"))
    output = dvc(project, "repro", code=255)
    errors = [line for line in output.splitlines() if line.startswith("error:")]
    assert errors == [
        "error: params.yaml: loss.alpha: missing; see presets/demo.yaml; "
        "params.yaml: loss.alhpa: unknown key; expected one of alpha, beta"
    ]


def test_one_added_clip_costs_one_clip_and_equals_a_clean_run(finished, tmp_path):
    recordings = tmp_path / "recordings"
    shutil.copytree(finished / "data/demo", recordings)
    late = recordings / "AudioData/DC/a02.wav"
    later = recordings / "AudioVisualClip/DC/a02.avi"
    for path in (late, later):
        path.rename(tmp_path / path.name)
    corpus = {"corpus": {"name": "savee", "root": str(recordings)}}
    work = copy_project(tmp_path / "work", corpus)
    dvc(work, "repro", "embed", "annotate", "image_sets")
    (tmp_path / late.name).rename(late)
    (tmp_path / later.name).rename(later)
    output = dvc(work, "repro", "embed", "annotate", "image_sets")
    assert "extract: 28 clips" in output
    for stage in ("extract", "resample", "annotate"):
        (line,) = [text for text in output.splitlines() if text.startswith(f"{stage}: 28 clips")]
        assert "27 " in line, line
    assert per_clip(work) == per_clip(finished)


@pytest.mark.parametrize(
    ("modalities", "system", "branch"),
    [
        ("audio", "audio_wavegram_logmel", "audio"),
        pytest.param("video", "visual_faster_rcnn", "visual", marks=pytest.mark.slow),
    ],
)
def test_a_corpus_of_one_modality_runs_its_systems(project, modalities, system, branch):
    set_params(project, {"corpus": {"modalities": modalities}})
    output = dvc(project, "repro", code=255)
    assert "needs" in output and stages_run(output) == ["demo", "extract"]
    set_params(project, {"system": system})
    dvc(project, "repro")
    assert list(scores_of(project)["branches"]) == [branch]


@pytest.mark.slow
def test_joint_training_and_leave_one_speaker_out_run(project):
    changes = ["-S", "fusion.joint=true", "-S", "split.protocol=loso"]
    ran = stages_run(dvc(project, "exp", "run", *changes))
    assert set(ran) == {"image_sets", "detect", "embed_faces", "fuse", "pack", "report"}
    scores = scores_of(project)
    assert scores["clips"] == 28
    assert set(scores["speakers"]) == {"DC", "JE"}
    told = json.loads((project / "results/run.json").read_text())
    assert told["joint_detector"]["frames"] == told["detector"]["frames"]
    assert metrics_of(project)["mean_iou"] == told["joint_detector"]["mean_iou"]


def test_an_edit_in_the_product_stops_the_run_and_is_kept_as_a_correction(project):
    """The right box stays, and one clip is annotated again."""
    path = min((project / "data/voc/Annotations").iterdir())
    path.write_text(re.sub("<xmin>.*</xmin>", "<xmin>30</xmin>", path.read_text()))
    output = dvc(project, "repro", "annotate", code=255)
    assert f"1 file edited by hand, the first is {path.name}" in output
    command = [sys.executable, "-m", "stages.cli.app", "corrections", "import", "data/voc"]
    told = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True)
    assert told.stdout.startswith(f"{path.stem}: 1 moved\n1 frame corrected, "), told.stderr
    output = dvc(project, "repro", "annotate")
    assert stages_run(output) == ["annotate"] and "27 from cache" in output
    assert "<xmin>30</xmin>" in path.read_text() and "<value>person</value>" in path.read_text()
    assert f"?? annotations/corrections/{path.name}\n" in git(project, "status", "--porcelain")


def per_clip(folder):
    """What work per clip left below `data`, whichever corpus the clips came from."""
    products = tree(folder / "data")
    assert {name.split("/")[0] for name in products} >= set(PER_CLIP)
    return {name: content for name, content in products.items() if name.split("/")[0] in PER_CLIP}


def metrics_of(folder):
    return json.loads((folder / "results/metrics.json").read_text())


def scores_of(folder):
    return json.loads((folder / "results/run.json").read_text())["scores"]


def metrics_diff(folder):
    """By name what `dvc metrics diff` says of the workspace against HEAD."""
    output = dvc(folder, "metrics", "diff", "--json")
    return json.loads(output).get("results/metrics.json", {})
