"""What the products of each work function depend on, and what must not make them anew."""

import shutil

import pytest

from pipeline.work.closure import PACKAGES, PROJECT, SUPPORT, closure, code_digests

WORK = {
    "pipeline.corpora.demo.corpus": (
        {"pipeline/corpora/demo/face.py", "pipeline/corpora/demo/voice.py", "pipeline/files.py"},
        {"pipeline/corpora/cremad.py", "pipeline/corpora/folder.py", "pipeline/splits.py"},
    ),
    "pipeline.media.decode": (
        {"pipeline/media/ffmpeg.py", "pipeline/media/probe.py"},
        {"pipeline/media/extract.py", "pipeline/corpora/cremad.py", "pipeline/splits.py"},
    ),
    "pipeline.media.sound": (
        {"pipeline/media/sound.py"},
        {"pipeline/media/decode.py", "pipeline/splits.py"},
    ),
    "annotations.faces.annotate": (
        {
            "annotations/faces/detection.py",
            "annotations/faces/speech.py",
            "annotations/faces/tracks.py",
        },
        {"pipeline/splits.py", "annotations/image_sets.py", "annotations/faces/agreement.py"},
    ),
    "models.audio.embed": (
        {"models/audio/panns.py", "models/audio/front_end.py", "models/audio/handcrafted.py"},
        {"pipeline/splits.py", "pipeline/corpora/index.py", "models/training.py"},
    ),
    "models.faces.task": (
        {"models/faces/detector.py", "models/faces/voting.py", "models/training.py"},
        {"pipeline/splits.py", "models/faces/scores.py", "models/faces/folds.py"},
    ),
    "models.comparison.trials": (
        {
            "models/systems/evaluate.py",
            "models/systems/faces.py",
            "models/systems/compact.py",
            "models/systems/baselines/vaanet.py",
            "models/fusion/network.py",
            "pipeline/splits.py",
        },
        {
            "models/comparison/runner.py",
            "pipeline/corpora/index.py",
            "annotations/faces/detection.py",
        },
    ),
    "models.comparison.boxes": (
        {"models/faces/scores.py", "models/faces/detector.py"},
        {"pipeline/corpora/index.py", "annotations/faces/detection.py"},
    ),
}
"""By module of a work function: what must enter its keys, and what must not."""


@pytest.mark.parametrize("module", WORK)
def test_the_code_in_a_key_is_what_the_work_runs(module):
    code = code_digests(module).keys()
    inside, outside = WORK[module]
    assert inside <= code
    assert not outside & code
    assert all((PROJECT / path).is_file() for path in outside)
    assert not {"pipeline/errors.py", "pipeline/params.py", "pipeline/work/cache.py"} & code
    assert not [path for path in code if path.startswith("stages/")]


def test_what_is_left_out_of_keys_exists_and_says_why():
    for name, why in SUPPORT.items():
        path = PROJECT / name.replace(".", "/")
        assert (path.is_dir() or path.with_suffix(".py").is_file()) and why


@pytest.fixture
def project(tmp_path):
    """A project of three modules, one of which is read by a type checker alone."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "work.py").write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from models import words\n\n"
        "def work():\n    from models.deep import x\n    return x\n"
    )
    (folder / "deep.py").write_text('"""Deep."""\n\nx = 1\n')
    (folder / "words.py").write_text("y = 1\n")
    return tmp_path


def digests(project):
    copy = project.parent / f"{project.name}-{len(list(project.parent.iterdir()))}"
    return code_digests("models.work", shutil.copytree(project, copy))


def test_imports_within_functions_count_and_those_for_type_checkers_do_not(project):
    assert closure("models.work", root=project) == {"models/work.py", "models/deep.py"}


def test_code_counts_and_words_about_it_do_not(project):
    before = digests(project)
    (project / "models" / "deep.py").write_text('"""Deeper."""\n\n\nx = 1  # a comment\n')
    assert digests(project) == before
    (project / "models" / "words.py").write_text("y = 2\n")
    assert digests(project) == before
    (project / "models" / "deep.py").write_text("x = 2\n")
    assert digests(project) != before


def test_no_import_is_hidden_from_the_closure():
    """But that of a stage by the command line, which makes no product itself."""
    hidden = ("import_module(", "__import__(")
    files = (path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
    found = [str(p.relative_to(PROJECT)) for p in files if any(h in p.read_text() for h in hidden)]
    assert found == ["stages/cli/app.py"]
