"""Its test is its definition: an incremental run equals a clean run, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import MediaError
from pipeline.files import atomic_write, publish
from pipeline.work.cache import ClipCache, Job


def shout(payload, folder):
    text = payload.read_text()
    if text == "bad":
        raise MediaError(f"{payload}: bad; replace it")
    (folder / "out.txt").write_text(text.upper())


def slow_shout(payload, folder):
    if payload.name == "c2.txt" and "AVEMO_TEST_SLOW" in os.environ:
        time.sleep(60)
    shout(payload, folder)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    for i in range(3):
        (folder / f"c{i}.txt").write_text(f"clip {i}")
    return folder


def run(folder, out, work=shout, settings=None):
    jobs = [Job(p.stem, (p,), p) for p in sorted(folder.iterdir())]
    products = ClipCache("annotate", settings or {"k": 1}).run(jobs, work, "test")
    publish(out, [(f"{i}.txt", f / "out.txt") for i, f in products.folders.items()])
    return products


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.txt"))}


def test_incremental_equals_clean_and_redoes_only_what_changed(sources, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert run(sources, out).cached == 0
    (sources / "c3.txt").write_text("clip 3")
    (sources / "c0.txt").unlink()
    (sources / "c1.txt").write_text("another")
    assert run(sources, out).cached == 1
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "fresh"))
    run(sources, tmp_path / "clean")
    assert tree(out) == tree(tmp_path / "clean")
    assert sorted(tree(out)) == ["c1.txt", "c2.txt", "c3.txt"]


def test_settings_enter_the_key(sources, tmp_path):
    run(sources, tmp_path / "out")
    assert run(sources, tmp_path / "out").cached == 3
    assert run(sources, tmp_path / "out", settings={"k": 2}).cached == 0


def test_a_bad_clip_is_rejected_and_the_others_finish(sources, tmp_path):
    (sources / "c1.txt").write_text("bad")
    products = run(sources, tmp_path / "out")
    assert [r.clip_id for r in products.rejects] == ["c1"]
    assert "replace it" in products.rejects[0].reason
    assert sorted(products.folders) == ["c0", "c2"]


def test_a_file_that_cannot_be_read_is_rejected_and_named(sources, tmp_path):
    (sources / "c1.txt").unlink()
    (sources / "c1.txt").symlink_to(tmp_path / "gone")
    (reject,) = run(sources, tmp_path / "out").rejects
    assert "c1.txt: cannot be read (No such file" in reject.reason


def test_a_killed_run_resumes_with_the_finished_clips(sources, tmp_path):
    here = Path(__file__)
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "import pathlib, test_cache\n"
        "if __name__ == '__main__':\n"
        "    test_cache.run(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]),"
        " test_cache.slow_shout)\n"
    )
    script = tmp_path / "killed.py"
    script.write_text(code)
    command = [sys.executable, script, here.parent, sources, tmp_path / "out"]
    process = subprocess.Popen(
        command, env={**os.environ, "AVEMO_TEST_SLOW": "1"}, start_new_session=True
    )
    finished = tmp_path / "cache" / "annotate"
    deadline = time.monotonic() + 30
    while len(list(finished.glob("*/*/out.txt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    products = run(sources, tmp_path / "out", slow_shout)
    assert products.cached == 2
    assert tree(tmp_path / "out") == {f"c{i}.txt": b"CLIP %d" % i for i in range(3)}


def test_published_files_are_not_links_into_the_cache(sources, tmp_path):
    products = run(sources, tmp_path / "out")
    (tmp_path / "out" / "c0.txt").write_text("edited by hand")
    assert (products.folders["c0"] / "out.txt").read_text() == "CLIP 0"


def test_atomic_write_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
