"""Its test is its definition: an incremental run equals a clean run, byte for byte."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import MediaError
from pipeline.files import atomic_write
from pipeline.params import Section
from pipeline.work import progress
from pipeline.work.cache import Accelerators, ClipCache, Job
from pipeline.work.executors import executors_from, open_executor


class Loudness(Section):
    """Params of `shout`."""

    marks: int
    share: float = 0.5  # decides about the corpus, not about a clip


@dataclass(frozen=True)
class Whisper:
    """Payload of `shout`."""

    path: Path
    params: Loudness


def shout(payload, folder):
    text = payload.path.read_text()
    if text == "bad":
        raise MediaError(f"{payload.path}: bad; replace it")
    (folder / "out.txt").write_text(text.upper() + "!" * payload.params.marks)


def slow_shout(payload, folder):
    if payload.path.name == "c2.txt" and "AVEMO_TEST_SLOW" in os.environ:
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
    with executors_from(ThreadPoolExecutor):
        yield folder


def run(folder, out, work=shout, **settings):
    params = Loudness(**{"marks": 1, **settings})
    jobs = [Job(p.stem, Whisper(p, params)) for p in sorted(folder.iterdir())]
    products = ClipCache("annotate", work, ignore=("share",)).run(jobs, "test")
    products.publish(out, "out.txt")
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


def test_the_payload_is_the_key_less_what_is_ignored(sources, tmp_path):
    run(sources, tmp_path / "out")
    assert run(sources, tmp_path / "out", share=0.9).cached == 3
    assert run(sources, tmp_path / "out", marks=2).cached == 0
    moved = sources.rename(tmp_path / "elsewhere")
    assert run(moved, tmp_path / "out").cached == 3


def test_a_payload_whose_content_cannot_be_told_is_refused(sources):
    with pytest.raises(TypeError, match="object in a payload"):
        ClipCache("annotate", shout).run([Job("a", [object()])], "test")


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


def damages(entry):
    """Every way in which an entry can be wrong, as (name, what to do)."""
    manifest, product = entry / "manifest.json", entry / "files" / "out.txt"

    def flip(path, position):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    for path in (manifest, product):
        for position in range(len(path.read_bytes())):
            yield f"{path.name} {position}", lambda p=path, i=position: flip(p, i)
        yield f"no {path.name}", path.unlink
        yield f"half {path.name}", lambda p=path: p.write_bytes(p.read_bytes()[:-2])
    yield "foreign file", lambda: (entry / "files" / "more.txt").write_text("x")


def test_a_damaged_entry_is_made_again_and_said(sources, tmp_path, caplog):
    entry = run(sources, tmp_path / "out").folders["c1"].parent
    good = tree(tmp_path / "out")
    for name, damage in list(damages(entry)):
        damage()
        caplog.clear()
        assert run(sources, tmp_path / "out").cached == 2, name
        assert "annotate of c1" in caplog.text and "made again" in caplog.text
        assert tree(tmp_path / "out") == good, name
    assert run(sources, tmp_path / "out").cached == 3


def test_an_entry_of_other_work_is_not_taken(sources, tmp_path):
    folders = run(sources, tmp_path / "out").folders
    first, second = folders["c0"].parent, folders["c1"].parent
    for path in ("files/out.txt", "manifest.json"):
        (first / path).write_bytes((second / path).read_bytes())
    assert run(sources, tmp_path / "out").cached == 2
    assert tree(tmp_path / "out")["c0.txt"] == b"CLIP 0!"


def changing_shout(payload, folder):
    """Another file takes the clip's place once, while it is read."""
    shout(payload, folder)
    if payload.path.read_text() == "clip 1":
        payload.path.write_text("clip X")


def restless_shout(payload, folder):
    shout(payload, folder)
    payload.path.write_text(payload.path.read_text() + ".")


def test_a_source_replaced_midway_does_not_poison_its_key(sources, tmp_path):
    products = run(sources, tmp_path / "out", changing_shout)
    assert tree(tmp_path / "out")["c1.txt"] == b"CLIP X!"
    kept = {path.read_text() for path in (tmp_path / "cache").rglob("out.txt")}
    assert kept == {"CLIP 0!", "CLIP X!", "CLIP 2!"} and not products.rejects


def test_a_source_that_keeps_changing_is_rejected(sources, tmp_path):
    products = run(sources, tmp_path / "out", restless_shout)
    assert not products.folders
    assert "c0.txt: changes while it is read; run again" in products.rejects[0].reason


def test_an_executor_of_ones_own_does_the_work_and_cached_work_needs_none(sources, tmp_path):
    opened = []

    def opener(workers):
        opened.append(workers)
        return ThreadPoolExecutor(workers)

    with executors_from(opener):
        run(sources, tmp_path / "out")
        run(sources, tmp_path / "out")
    assert opened == [1]


def long_work(payload, folder):
    for _ in range(3):
        with progress.timed("training"):
            progress.advance(2, "epoch")


def test_long_work_tells_each_task_and_where_the_time_went(sources, capsys):
    progress._spent.clear()  # other tests of this process have spent some
    jobs = [Job(name, None, steps=6) for name in ("one", "two")]
    ClipCache("detect", long_work).run(jobs, "detect", "fold", "frame")
    progress.print_summary("detect", "2 folds", time.monotonic())
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[0].startswith("detect: fold one after 0 s, 1 of 2")
    assert lines[1].endswith("2 of 2")
    assert captured.out == "detect: 2 folds, 0.0 s (training 0 s)\n"


def test_a_killed_run_resumes_with_the_finished_clips(sources, tmp_path):
    code = (
        "import pathlib, sys, test_cache\n"
        "if __name__ == '__main__':\n"
        "    test_cache.run(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]),"
        " test_cache.slow_shout)\n"
    )
    script = tmp_path / "killed.py"
    script.write_text(code)
    command = [sys.executable, script, sources, tmp_path / "out"]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "AVEMO_TEST_SLOW": "1", "PYTHONPATH": paths}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    finished = tmp_path / "cache" / "annotate"
    deadline = time.monotonic() + 120
    while len(list(finished.glob("??/*/manifest.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    assert list(finished.glob("part-*"))
    products = run(sources, tmp_path / "out", slow_shout)
    assert products.cached == 2
    assert tree(tmp_path / "out") == {f"c{i}.txt": b"CLIP %d!" % i for i in range(3)}
    assert not list(finished.glob("part-*"))


def test_published_files_are_not_links_into_the_cache(sources, tmp_path):
    products = run(sources, tmp_path / "out")
    (tmp_path / "out" / "c0.txt").write_text("edited by hand")
    assert (products.folders["c0"] / "out.txt").read_text() == "CLIP 0!"


def test_atomic_write_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def odd_shout(payload, folder):
    text = payload.path.read_text()
    if text == "odd":
        raise ZeroDivisionError("by a rate of 0")
    if text == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    shout(payload, folder)


def test_what_nobody_foresaw_refuses_that_clip_alone_and_says_where(sources, tmp_path):
    (sources / "c1.txt").write_text("odd")
    products = run(sources, tmp_path / "out", odd_shout)
    assert products.folders.keys() == {"c0", "c2"}
    (reject,) = products.rejects
    assert reject.clip_id == "c1"
    assert (
        "ZeroDivisionError: by a rate of 0 (in tests/pipeline/work/test_cache.py:" in reject.reason
    )


def test_a_full_disk_stops_the_run_and_names_the_place(sources, tmp_path):
    (sources / "c1.txt").write_text("full")
    with pytest.raises(OSError, match="No space left") as caught:
        run(sources, tmp_path / "out", odd_shout)
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path / "cache") in caught.value.filename


def deadly_shout(payload, folder):
    """Lose the worker process as an out-of-memory killer would: always, or the first time alone."""
    text = payload.path.read_text()
    mark = payload.path.with_suffix(".died")
    if text == "deadly" or (text == "weak" and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    shout(payload, folder)


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize(
    ("workers", "texts"),
    [
        ("1", {"a": "fine", "b": "weak", "c": "deadly", "d": "fine", "e": "weak"}),
        ("2", {"a": "fine", "b": "fine", "c": "deadly", "d": "fine", "e": "fine"}),
    ],
    ids=["alone", "beside others"],
)
def test_a_lost_worker_is_tried_once_more_then_its_clip_alone_is_refused(
    tmp_path, monkeypatch, caplog, workers, texts
):
    monkeypatch.setenv("AVEMO_WORKERS", workers)
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    jobs = []
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
        jobs.append(Job(name, Whisper(tmp_path / f"{name}.txt", Loudness(marks=1))))
    products = ClipCache("shout", deadly_shout).run(jobs, "shout")
    assert list(products.folders) == ["a", "b", "d", "e"]
    (reject,) = products.rejects
    assert reject.clip_id == "c" and "worker process was lost twice" in reject.reason
    assert reject.file == str(tmp_path / "c.txt")
    assert (products.folders["b"] / "out.txt").read_text() == f"{texts['b'].upper()}!"
    assert "a worker process was lost; once more: " in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_workers_end_with_their_parent(tmp_path):
    code = (
        "import os, time\n"
        "from pathlib import Path\n"
        "from pipeline.work.executors import open_executor\n"
        "if __name__ == '__main__':\n"
        "    with open_executor(1) as executor:\n"
        "        print(executor.submit(os.getpid).result(), flush=True)\n"
        "        executor.submit(time.sleep, 60).result()\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker outlived its parent by 10 s")


def whisper_together(jobs):
    """Products say with whom and where they were made."""
    errors = []
    for payload, folder in jobs:
        text = payload.path.read_text()
        errors.append(MediaError(f"{payload.path}: bad; replace it") if text == "bad" else None)
        made = f"{text} in {len(jobs)} on {os.environ['AVEMO_DEVICE']}"
        (folder / "out.txt").write_text(made)
    return errors


def test_each_accelerator_works_on_many_jobs_at_once(sources, tmp_path):
    for i in range(3, 6):
        (sources / f"c{i}.txt").write_text(f"clip {i}")
    (sources / "c1.txt").write_text("bad")
    params = Loudness(marks=1)
    jobs = [Job(p.stem, Whisper(p, params)) for p in sorted(sources.iterdir())]
    cards = Accelerators(("card:0", "card:1"), whisper_together, at_once=3)

    def run_on_cards():
        cache = ClipCache("annotate", shout, facts={"device": "card"}, accelerators=cards)
        products = cache.run(jobs, "test")
        return products, {i: (f / "out.txt").read_text() for i, f in products.folders.items()}

    with executors_from(None):
        products, made = run_on_cards()
        assert [reject.clip_id for reject in products.rejects] == ["c1"]
        assert [made[i][:-1] for i in ("c0", "c5")] == [f"clip {i} in 3 on card:" for i in (0, 5)]
        (sources / "c1.txt").write_text("clip 1")
        products, made = run_on_cards()
    assert products.cached == 5 and made["c1"][:-1] == "clip 1 in 1 on card:"


def meet(folder):
    """Wait for another process to come here too."""
    (folder / os.environ["AVEMO_DEVICE"]).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.02)
    return os.environ["AVEMO_DEVICE"]


def test_each_worker_has_a_device_of_its_own(tmp_path):
    with open_executor(2, ("cuda:0", "cuda:1")) as executor:
        assert set(executor.map(meet, [tmp_path] * 2)) == {"cuda:0", "cuda:1"}


def tell_process(payload, folder):
    if payload:
        raise MediaError("expected nothing")
    (folder / "process").write_text(str(os.getpid()))


def test_without_workers_the_process_itself_works_also_in_place_of_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path))
    monkeypatch.setenv("AVEMO_WORKERS", "0")
    jobs = [Job("a", ""), Job("b", "bad"), Job("c", "")]
    cards = Accelerators(("card:0", "card:1"))
    products = ClipCache("annotate", tell_process, accelerators=cards).run(jobs, "test")
    said = {(folder / "process").read_text() for folder in products.folders.values()}
    assert said == {str(os.getpid())} and list(products.folders) == ["a", "c"]
    assert [reject.reason for reject in products.rejects] == ["expected nothing"]
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    again = ClipCache("annotate", tell_process, facts={"again": True}).run(jobs[:1], "test")
    assert (again.folders["a"] / "process").read_text() != str(os.getpid())


def test_a_job_that_breaks_those_beside_it_fails_alone(sources, tmp_path, caplog):
    (sources / "c1.txt").write_text("bad")

    def fragile(jobs):
        if any(payload.path.read_text() == "bad" for payload, _ in jobs):
            raise RuntimeError("no memory left")
        return whisper_together(jobs)

    jobs = [Job(p.stem, Whisper(p, Loudness(marks=1))) for p in sorted(sources.iterdir())]
    cards = Accelerators(("card:0",), fragile, at_once=3)
    products = ClipCache("annotate", shout, accelerators=cards).run(jobs, "test")
    assert [reject.clip_id for reject in products.rejects] == ["c1"]
    assert sorted(products.folders) == ["c0", "c2"]
    assert "3 jobs at once failed (RuntimeError: no memory left); one after the" in caplog.text
