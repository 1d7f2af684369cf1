"""Work on a Dask cluster: what it makes, what it survives, what it carries."""

import json
import os
import pickle
import pickletools
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from project_copy import ROOT, set_params, tree
from tiny_media import make_sound, make_video
from typer.testing import CliRunner

from pipeline.errors import ParamsError
from pipeline.work import cluster
from pipeline.work.cluster import Task, code_digest, open_cluster, require_shared
from pipeline.work.executors import executors_from
from stages.cli.app import app

STAGES = ("extract", "resample", "annotate", "embed")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with params and 12 clips in SAVEE's layout, one of them damaged."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    for take in range(1, 13):
        make_video(folder / f"SAVEE/AudioVisualClip/DC/a{take:02d}.avi", sound=None)
        make_sound(folder / f"SAVEE/AudioData/DC/a{take:02d}.wav", 0.41)
    film = folder / "SAVEE/AudioVisualClip/DC/a07.avi"
    film.write_bytes(film.read_bytes()[:200])
    set_params(
        folder,
        {
            "corpus": {"name": "savee", "root": "SAVEE", "require": "both"},
            "extract": {"max_bad_fraction": 0.5},
            "embed": {"networks": ["Cnn14"]},
        },
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    return folder


class Measured(ThreadPoolExecutor):
    """Sends each task as to a cluster, and keeps its bytes."""

    def __init__(self, sent: list[bytes]) -> None:
        super().__init__(1)
        self._sent = sent

    def submit(self, fn, /, *args):
        task = Task(partial(fn, *args), Path.cwd(), code_digest(), {"AVEMO_DEVICE": "cpu"})
        self._sent.append(pickle.dumps(task))
        return super().submit(fn, *args)


def test_a_task_carries_paths_and_no_arrays(project):
    for stage in STAGES:
        sent: list[bytes] = []
        with executors_from(lambda workers, sent=sent: Measured(sent)):
            done = CliRunner().invoke(app, [stage], catch_exceptions=False)
        assert done.exit_code == 0
        assert len(sent) >= 11
        for content in sent:
            assert len(content) < 10_000, stage
            words = [word for _, word, _ in pickletools.genops(content) if isinstance(word, str)]
            assert {"pathlib", "Task"} <= set(words)
            assert not {word.split(".")[0] for word in words} & {"numpy", "torch"}


def opened(task: Task) -> object:
    """What it returns in another process, as on a worker."""
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)())"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(task), cwd=ROOT, capture_output=True
    )
    return done.stdout.decode() or done.stderr.decode().splitlines()[-1]


def test_a_task_works_in_its_folder_or_says_what_its_machine_lacks(tmp_path):
    environment = {"AVEMO_DEVICE": "cuda"}
    task = Task(partial(os.getcwd), tmp_path, code_digest(), environment)
    assert opened(task) == f"{tmp_path}\n"
    assert opened(Task(partial(os.getenv, "AVEMO_DEVICE"), tmp_path, code_digest(), environment))
    gone = tmp_path / "gone"
    missing = f"does not see {gone}; put project, recordings and AVEMO_CACHE into folders"
    assert missing in opened(Task(partial(os.getcwd), gone, code_digest(), environment))
    asked = partial(require_shared, [tmp_path, gone])
    assert missing in opened(Task(asked, tmp_path, code_digest(), environment))
    asked()  # here, where no cluster is, a file may go at any time: that is its clip's fault
    other = opened(Task(partial(os.getcwd), tmp_path, "other", environment))
    assert "runs other code of avemo" in other and "start it again" in other


def test_what_becomes_of_a_task_is_told_in_our_errors():
    distributed = pytest.importorskip("distributed")

    killed = distributed.KilledWorker("task", SimpleNamespace(address="tcp://127.0.0.1:9"), 3)

    def told(error: Exception | None) -> BaseException:
        inner: Future = Future()
        outer: Future = Future()
        if error is None:
            inner.cancel()
        else:
            inner.set_exception(error)
        cluster._settle(outer, inner)
        return outer.exception()

    assert isinstance(told(killed), BrokenExecutor)
    assert "a worker lacks code (No module named 'pipeline')" in str(
        told(ModuleNotFoundError("No module named 'pipeline'"))
    )
    assert "the scheduler was lost" in str(told(None))
    refused = ParamsError("x")
    assert told(refused) is refused


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9: no scheduler answers ("),
        ("http://127.0.0.1:9", "no scheduler answers ("),
        ("tcp://127.0.0.1:x", "no scheduler answers ("),
    ],
)
def test_a_scheduler_that_does_not_answer_is_one_line(address, says):
    pytest.importorskip("distributed")
    with pytest.raises(ParamsError) as refused, open_cluster(address, {}):
        pass
    assert says in str(refused.value) and "unset AVEMO_SCHEDULER" in str(refused.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(ParamsError, match=r"pip install avemo\[cluster\]"), open_cluster("x", {}):
        pass


DEADLY = """
import os, signal
from pathlib import Path

def shout(payload, folder):
    (folder / "out.txt").write_text("half")
    text = payload.read_text()
    fatal = payload.with_suffix(".fatal")
    if text == "always" or (text == "once" and not fatal.exists()):
        fatal.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "out.txt").write_text(text.upper())
"""

SHOUT = """
import sys
from pathlib import Path
from deadly import shout
from pipeline.work.cache import ClipCache, Job

jobs = [Job(p.stem, p) for p in sorted(Path("texts").glob("*.txt"))]
products = ClipCache("shout", shout).run(jobs, "shout")
for name, folder in products.folders.items():
    print(name, (folder / "out.txt").read_text())
for reject in products.rejects:
    print(reject.clip_id, reject.reason)
"""


@contextmanager
def started(*command: object, environment: dict[str, str], log: Path):
    """A process for the block; its whole group ends with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command)],
            env=environment,
            cwd=log.parent,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for last_word in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, last_word)
                process.wait(20)


def wait_for(condition, what: str, patience_s: float = 120):
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.05)


class Dask:
    """A scheduler of a test, with workers in processes of their own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.folder, self._stack, self._count = folder, stack, 0
        code = folder / "code"
        code.mkdir()
        (code / "deadly.py").write_text(DEADLY)
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(code), os.environ.get("PYTHONPATH", "")]),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        }
        at = folder / "scheduler.json"
        where = ("--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", at)
        self._start("dask_scheduler", *where)
        wait_for(at.exists, "the scheduler")
        self.address = json.loads(at.read_text())["address"]

    def _start(self, name: str, *arguments: object, before: tuple[object, ...] = ()):
        self._count += 1
        log = self.folder / f"{name}{self._count}.log"
        command = (*before, sys.executable, "-m", f"distributed.cli.{name}", *arguments)
        process = started(*command, environment=self.environment, log=log)
        return self._stack.enter_context(process), log

    def add_worker(self, *settings: str, before: tuple[object, ...] = ()) -> subprocess.Popen:
        ours = ("--nthreads", 1, "--no-dashboard", "--local-directory", self.folder / "local")
        process, log = self._start("dask_worker", self.address, *ours, *settings, before=before)
        wait_for(lambda: b"Registered to" in log.read_bytes(), "a worker")
        return process

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        """A process that gives its work to the cluster."""
        environment = self.environment | {"AVEMO_SCHEDULER": self.address}
        return subprocess.run(
            [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True
        )


@pytest.fixture
def dask(tmp_path, project):
    pytest.importorskip("distributed")
    with ExitStack() as stack:
        yield Dask(tmp_path / "dask", stack)


def products(folder: Path) -> dict[str, bytes]:
    return tree(folder / "data")


def run_stages_here() -> dict[str, bytes]:
    with executors_from(ThreadPoolExecutor):
        for stage in STAGES[:2]:
            assert CliRunner().invoke(app, [stage], catch_exceptions=False).exit_code == 0
    return products(Path.cwd())


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_although_a_worker_is_killed(dask, project, monkeypatch):
    workers = [dask.add_worker("--no-nanny") for _ in range(2)]
    entries = Path(os.environ["AVEMO_CACHE"]) / "extract"

    def kill_one():
        wait_for(lambda: len(list(entries.glob("??/*/manifest.json"))) > 1, "the first clips")
        workers[0].kill()

    with ThreadPoolExecutor(1) as beside:
        killed = beside.submit(kill_one)
        for stage in STAGES[:2]:
            done = dask.run("-m", "stages.cli.app", stage)
            assert done.returncode == 0, done.stderr
        killed.result()
    assert workers[0].poll() == -signal.SIGKILL
    there = products(project)
    assert {"quarantine.csv", "voc/JPEGImages/DC_a12_00000.jpg", "audio32k/DC_a12.wav"} <= set(
        there
    )
    shutil.rmtree(project / "data")
    monkeypatch.setenv("AVEMO_CACHE", str(project / "another cache"))
    assert run_stages_here() == there


@pytest.mark.slow
def test_work_that_ends_its_worker_is_done_again_and_at_last_rejected(dask, project):
    dask.add_worker("--nworkers", "2")
    (project / "texts").mkdir()
    texts = {"a": "plain", "b": "once", "c": "always", "d": "plain", "e": "once", "f": "plain"}
    for name, text in texts.items():
        (project / f"texts/{name}.txt").write_text(text)
    (project / "run.py").write_text(SHOUT)
    done = dask.run("run.py")
    assert done.stdout.splitlines() == [
        "a PLAIN", "b ONCE", "d PLAIN", "e ONCE", "f PLAIN",
        "c its worker process was lost twice; is it too large for the memory?",
    ], done.stderr  # fmt: skip
    assert not list(Path(os.environ["AVEMO_CACHE"]).glob("shout/part-*"))


@pytest.mark.slow
def test_what_a_worker_lacks_is_one_line(dask, project, tmp_path):
    def error() -> str:
        done = dask.run("-m", "stages.cli.app", "extract")
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert done.returncode == 1 and len(lines) == 1, done.stderr
        return lines[0]

    assert "got no worker, expected workers of one thread; run `dask worker" in error()
    hide = 'mount -t tmpfs none $0 && exec "$@"'
    before = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", hide, project)
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("no name spaces of mounts for users")
    dask.add_worker("--no-nanny", before=before)
    assert f"does not see {project}/SAVEE/" in error()
