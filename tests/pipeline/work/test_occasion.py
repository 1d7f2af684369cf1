import subprocess
from datetime import UTC, datetime

import pytest

from pipeline.errors import CorpusError
from pipeline.params import differing
from pipeline.work.occasion import note, read_occasions
from stages import boundary

BEGAN = datetime(2026, 3, 9, 14, 5, 6, tzinfo=UTC)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("corpus: {root: /recordings}\nloss: {alpha: 1.0}\n")
    return tmp_path


def git(*arguments):
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def test_a_stage_notes_commit_changes_and_machine(project):
    git("init", "-q")
    (project / "dvc.lock").write_text("old")
    git("add", "params.yaml", "dvc.lock")
    git("commit", "-q", "-m", "start")
    (project / "dvc.lock").write_text("new")
    note("extract", BEGAN, 1.26, project / "occasion")
    (project / "params.yaml").write_text("corpus: {root: /recordings}\nloss: {alpha: 0.5}\n")
    note("demo", BEGAN, 0.5, project / "occasion")
    demo, extract = read_occasions(project / "occasion")
    assert (extract.stage, extract.began, extract.seconds) == ("extract", BEGAN, 1.3)
    assert len(extract.commit) == 40 and not extract.dirty and not extract.changed
    assert demo.dirty and demo.changed == {"loss.alpha": ("1.0", "0.5")}
    assert demo.corpus_root == "/recordings"
    assert demo.hardware.cores >= 1 and demo.versions["python"].startswith("3.")


def test_outside_git_there_is_no_commit(project, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    note("demo", BEGAN, 0.5, project / "occasion")
    (demo,) = read_occasions(project / "occasion")
    assert (demo.commit, demo.dirty, demo.changed) == ("", False, {})


def test_a_note_that_is_none_is_named(project):
    (project / "demo.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"demo\.json: not the note of a stage"):
        read_occasions(project)


def test_only_a_stage_that_ends_well_is_noted(project, monkeypatch):
    monkeypatch.setattr("sys.argv", ["stage"])

    def main() -> None:
        """A stage."""
        if fails:
            raise CorpusError("no")

    for fails in (True, False):
        with pytest.raises(SystemExit):
            boundary.run(main)
        assert (project / "results/occasion/test_occasion.json").is_file() is not fails


def test_values_that_differ_are_named_by_section_and_key():
    before = {"system": "a", "loss": {"alpha": 1.0, "beta": 1.0}, "gone": 1}
    after = {"system": "b", "loss": {"alpha": 1.0, "beta": 2.0}, "new": 1}
    assert differing(before, after) == {"system": ('"a"', '"b"'), "loss.beta": ("1.0", "2.0")}
