"""Where the cache lies, and what `avemo cache` does to it."""

import os
import shutil
import subprocess
import time

import pytest
from typer.testing import CliRunner

from pipeline.errors import ParamsError
from pipeline.work.entries import FILES, MANIFEST, UNFINISHED, cache_folder, prepare, seal, survey
from stages.cli.app import app
from stages.cli.verify import verify

KEY = "{:064x}".format


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a commit, in which the working folder lies."""
    monkeypatch.delenv("AVEMO_CACHE", raising=False)
    root = tmp_path / "my project"
    (root / "sub").mkdir(parents=True)
    monkeypatch.chdir(root)
    git("init", "-q", ".")
    git(
        "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x", "--allow-empty"
    )
    return root


def git(*arguments):
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def test_the_cache_lies_in_the_root_of_the_repository(repository, monkeypatch):
    assert cache_folder() == repository / ".avemo"
    monkeypatch.chdir(repository / "sub")
    assert cache_folder() == repository / ".avemo"


def test_worktrees_share_the_cache_of_the_main_repository(repository, tmp_path):
    git("worktree", "add", "-q", str(tmp_path / "other" / "tree"))
    assert cache_folder(tmp_path / "other" / "tree") == repository / ".avemo"


def test_a_worktree_of_a_bare_repository_shares_the_bare_ones(repository, tmp_path):
    git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    git("-C", str(tmp_path / "bare.git"), "worktree", "add", "-q", str(tmp_path / "tree"))
    assert cache_folder(tmp_path / "tree") == tmp_path / "bare.git" / ".avemo"


def test_a_submodule_is_a_repository_of_its_own(repository, tmp_path):
    allow = ("-c", "protocol.file.allow=always")
    shutil.copytree(repository, tmp_path / "part")
    git(*allow, "submodule", "add", "-q", str(tmp_path / "part"), "part")
    assert cache_folder(repository / "part") == repository / "part" / ".avemo"


def test_temporary_workspaces_of_dvc_share_it_also_below_a_worktree(repository, tmp_path):
    git("worktree", "add", "-q", str(tmp_path / "tree"))
    for root in (repository, tmp_path / "tree"):
        workspace = root / ".dvc" / "tmp" / "exps" / "tmpabc"
        workspace.mkdir(parents=True)
        git("init", "-q", str(workspace))
        assert cache_folder(workspace) == repository / ".avemo"


def test_elsewhere_it_lies_in_the_working_folder_or_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("AVEMO_CACHE", raising=False)
    assert cache_folder(tmp_path) == tmp_path / ".avemo"
    monkeypatch.setenv("AVEMO_CACHE", "kept")
    assert cache_folder(tmp_path) == tmp_path / "kept"
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "there"))
    assert cache_folder() == tmp_path / "there"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Three entries of 1 KB each, last used 1, 2 and 3 days ago, and files that are none."""
    root = tmp_path / "cache"
    monkeypatch.setenv("AVEMO_CACHE", str(root))
    for days in (1, 2, 3):
        key = KEY(days)
        entry = root / ("detect" if days == 3 else "extract") / key[:2] / key
        (entry / FILES).mkdir(parents=True)
        (entry / FILES / "a.bin").write_bytes(bytes(1000))
        seal(entry, key)
        os.utime(entry / MANIFEST, (time.time() - days * 86_400,) * 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (root / "extract" / "00" / KEY(7)).symlink_to(tmp_path / "mine")
    (root / "linked").symlink_to(tmp_path / "mine")
    (root / "notes.txt").write_text("x")
    (root / "photos" / "00" / "holiday").mkdir(parents=True)
    return root


def days_left(root):
    return sorted(int(entry.folder.name, 16) for entry in survey(root))


def avemo(*arguments):
    result = CliRunner().invoke(app, ["cache", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_show_says_place_size_entries_and_last_use(cache):
    lines = avemo("show").splitlines()
    assert lines[0].startswith(f"{cache}: 3 entries, ")
    assert [line.split()[:3] for line in lines[1:]] == [
        ["detect", "1", "entry"],
        ["extract", "2", "entries"],
    ]
    assert time.strftime("%Y-%m-%d", time.localtime(time.time() - 86_400)) in lines[2]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--older-than", "2.5"], [1, 2]),
        (["--max-size", "3K"], [1, 2]),
        (["--max-size", "2GB"], [1, 2, 3]),
        (["--all", "--dry-run"], [1, 2, 3]),
        (["--all"], []),
    ],
)
def test_prune_deletes_what_it_is_told_and_nothing_else(cache, tmp_path, options, left):
    printed = avemo("prune", *options)
    assert days_left(cache) == left
    assert f"; {len(left) if '--dry-run' not in options else 0} stay" in printed
    assert (tmp_path / "mine" / "thesis.txt").exists()
    assert (cache / "notes.txt").exists() and (cache / "photos" / "00" / "holiday").exists()


def test_state_of_unfinished_work_is_seen_pruned_and_in_the_end_forgotten(cache):
    states = [cache / "detect" / UNFINISHED / KEY(days) for days in (5, 9)]
    for state, days in zip(states, (5, 9), strict=True):
        state.mkdir(parents=True)
        (state / "frames").write_bytes(bytes(3000))
        os.utime(state, (time.time() - days * 86_400,) * 2)
    assert days_left(cache) == [1, 2, 3, 5, 9]
    assert avemo("show").splitlines()[1].split()[:3] == ["detect", "3", "entries"]
    prepare(cache / "detect")
    assert states[0].exists() and not states[1].exists()
    avemo("prune", "--older-than", "4")
    assert days_left(cache) == [1, 2, 3] and not states[0].exists()


def test_the_state_of_a_killed_training_is_not_damaged(cache, monkeypatch):
    monkeypatch.setenv("AVEMO_CACHE", str(cache))
    before, read = verify()
    (cache / "detect" / UNFINISHED / KEY(5)).mkdir(parents=True)
    assert verify() == (before, read)
    assert any(not entry.finished for entry in survey(cache))


def test_prune_wants_to_know_what(cache):
    with pytest.raises(ParamsError, match="expected --older-than"):
        avemo("prune")
    with pytest.raises(ParamsError, match="--max-size: got 'big', expected a size such as 500M"):
        avemo("prune", "--max-size", "big")
    assert days_left(cache) == [1, 2, 3]
