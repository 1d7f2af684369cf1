"""From recordings to metrics through DVC, as a user runs it, on a tiny demo corpus."""

import csv
import json
import shutil

import pytest
from project_copy import copy_project, dvc, set_params, stages_run, tree

ALL = ["demo", "extract", "resample", "annotate", "embed", "detect", "fuse", "pack", "report"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("end-to-end") / "avemo")
    assert stages_run(dvc(folder, "repro")) == ALL
    return folder


def test_every_product_is_there_and_joins(project):
    metrics = json.loads((project / "results/metrics.json").read_text())
    assert metrics["clips"] == 7
    assert set(metrics["branches"]) == {"av", "audio", "visual"}
    assert 0 <= metrics["accuracy"] <= 1
    assert {"ap50", "mean_iou"} <= metrics["detector"].keys()
    assert set(metrics["pool"]) == set(metrics["before_pooling"]) == {"av", "audio", "visual"}
    with (project / "results/predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 7
    frames = {p.stem for p in (project / "data/voc/JPEGImages").iterdir()}
    assert frames == {p.stem for p in (project / "data/voc/Annotations").iterdir()}
    page = (project / "results/report.html").read_text()
    assert "demo" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_nothing_runs_twice_and_one_number_runs_only_what_reads_it(project):
    assert stages_run(dvc(project, "repro")) == []
    before = tree(project / "results")
    params = (project / "params.yaml").read_text().splitlines()
    assert stages_run(dvc(project, "exp", "run", "-S", "loss.alpha=0.5")) == [
        "fuse",
        "pack",
        "report",
    ]
    assert tree(project / "results") != before
    changed = (project / "params.yaml").read_text().splitlines()
    (line,) = [new for old, new in zip(params, changed, strict=True) if new != old]
    assert line.startswith("  alpha: 0.5   ")
    back = dvc(project, "exp", "run", "-S", "loss.alpha=1.0")
    assert stages_run(back) == []
    assert "is cached" in back
    assert tree(project / "results") == before


def test_a_run_from_nothing_gives_the_same_bytes(project, tmp_path):
    again = copy_project(tmp_path / "again")
    dvc(again, "repro")
    for part in ("data", "results"):
        assert tree(again / part) == tree(project / part)


def test_a_misspelt_key_is_one_line(project):
    kept = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(kept.replace("  alpha: 1.0", "  alhpa: 1.0"))
    output = dvc(project, "repro", code=255)
    (project / "params.yaml").write_text(kept)
    said = [line for line in output.splitlines() if line.startswith("error:")]
    assert said == [
        "error: params.yaml: loss.alpha: missing; see presets/demo.yaml; "
        "params.yaml: loss.alhpa: unknown key; expected one of alpha, beta"
    ]


def test_one_added_clip_costs_one_clip_and_equals_a_clean_run(project, tmp_path):
    recordings = tmp_path / "recordings"
    shutil.copytree(project / "data/demo", recordings)
    late = recordings / "AudioData/DC/a02.wav"
    later = recordings / "AudioVisualClip/DC/a02.avi"
    for path in (late, later):
        path.rename(tmp_path / path.name)
    corpus = {"corpus": {"name": "savee", "root": str(recordings)}}
    work = copy_project(tmp_path / "work", corpus)
    dvc(work, "repro", "embed", "annotate")
    (tmp_path / late.name).rename(late)
    (tmp_path / later.name).rename(later)
    output = dvc(work, "repro", "embed", "annotate")
    assert "extract: 28 clips" in output
    for stage in ("extract", "resample", "annotate"):
        (line,) = [text for text in output.splitlines() if text.startswith(f"{stage}: 28 clips")]
        assert "27 " in line, line
    clean = copy_project(tmp_path / "clean", corpus)
    dvc(clean, "repro", "embed", "annotate")
    assert tree(work / "data") == tree(clean / "data")


@pytest.mark.parametrize(
    ("modalities", "system", "branch"),
    [("audio", "audio_wavegram_logmel", "audio"), ("video", "visual_faster_rcnn", "visual")],
)
def test_a_corpus_of_one_modality_runs_its_systems(project, modalities, system, branch):
    kept = (project / "params.yaml").read_text()
    try:
        set_params(project, {"corpus": {"modalities": modalities}})
        output = dvc(project, "repro", code=255)
        assert "needs" in output and stages_run(output) == ["demo", "extract"]
        set_params(project, {"system": system})
        dvc(project, "repro")
    finally:
        (project / "params.yaml").write_text(kept)
    metrics = json.loads((project / "results/metrics.json").read_text())
    assert list(metrics["branches"]) == [branch]


def test_joint_training_and_leave_one_speaker_out_run(project):
    changes = ["-S", "fusion.joint=true", "-S", "split.protocol=loso"]
    ran = stages_run(dvc(project, "exp", "run", *changes))
    assert ran == ["annotate", "detect", "fuse", "pack", "report"]
    metrics = json.loads((project / "results/metrics.json").read_text())
    assert metrics["clips"] == 28
    assert set(metrics["speakers"]) == {"DC", "JE"}
