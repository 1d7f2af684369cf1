"""A tutorial's commands run, in their order, on recordings that are few, small and made up.

Each page twice: its quick commands always, all of them with the slow tests.
"""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_run import make_run
from project_copy import ROOT, TINY, copy_project, dvc, environment, git, set_params, stages_run
from ruamel.yaml import YAML
from tiny_media import make_video
from typer.testing import CliRunner

from models import speeds
from models.speeds import NetworkSpeeds, Speeds
from pipeline.clips import frame_name
from pipeline.corpora.savee import EMOTION_OF
from pipeline.work.executors import executors_from
from stages.cli import plan, weight_files
from stages.cli.app import app
from stages.cli.check import check

BLOCK = re.compile(r"^```(console|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)

Deed = Callable[[Path], None] | None


def follow(
    page: str,
    folder: Path,
    swapped: Mapping[str, str] | None = None,
    instead: Mapping[str, Deed] | None = None,
    after: Mapping[str, Deed] | None = None,
) -> list[tuple[str, str]]:
    """Do in a project what a page says.

    Args:
        page: name of a file in docs/tutorials.
        folder: the project.
        swapped: what other text stands for a text in its commands.
        instead: commands that are not run, and what is done in their place.
        after: what is done after a command.

    Returns:
        Each command of the page, and what it printed.
    """
    swapped, instead, after = swapped or {}, instead or {}, after or {}
    text = (ROOT / "docs/tutorials" / page).read_text(encoding="utf-8")
    for expected in [*swapped, *instead, *after]:
        assert expected in text, f"{page} has no {expected}"
    told = []
    with contextlib.chdir(folder):
        for kind, block in BLOCK.findall(text):
            if kind == "yaml":
                set_params(folder, YAML().load(block))
                continue
            for line in block.splitlines():
                command = line.removeprefix("$ ")
                if command in instead:
                    done, output = instead[command], ""
                else:
                    done, output = after.get(command), call(command, swapped)
                if done:
                    done(folder)
                told.append((command, output))
    return told


def call(command: str, swapped: Mapping[str, str]) -> str:
    """What a command printed; `avemo` is called in this process, to import torch once."""
    for ours, theirs in swapped.items():
        command = command.replace(ours, theirs)
    if command.startswith("avemo "):
        result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
        assert result.exit_code == 0, f"{command}: {result.output}"
        return result.output
    done = subprocess.run(
        command, shell=True, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module", autouse=True)
def own_means():
    """`avemo plan` looks at this machine for an instant; each project has a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AVEMO_CACHE", raising=False)
        patch.setattr(speeds, "ENOUGH_S", 0.0)
        patch.setenv("AVEMO_WORKERS", "1")
        yield


def nothing(folder: Path) -> None:
    """In place of a command that takes minutes."""


def run_all(*commands: str) -> None:
    """Call commands of avemo in threads: starting a process takes longer than the rest."""
    with executors_from(ThreadPoolExecutor):
        for command in commands:
            call(command, {})


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder that stands for `/data`: recordings of two speakers, as `own_data.md` has them."""
    data = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for speaker in ("anna", "ben"):
        for emotion, pitch_hz in (("joy", 400), ("contempt", 200), ("bored", 100)):
            for take in (1, 2):
                times = np.arange(8000) / 16_000
                sound = 0.3 * np.sin(2 * np.pi * pitch_hz * times)
                path = data / "recordings" / speaker / emotion / f"take{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, sound + 0.02 * generator.normal(size=len(times)), 16_000)
    shutil.copy(path, data / "new.wav")
    return data


def test_own_recordings_are_looked_at_and_planned(recordings, tmp_path):
    long = ("dvc repro", "avemo summary", "avemo predict /data/new.wav")
    project, swapped = copy_project(tmp_path / "avemo"), {"/data/": f"{recordings}/"}
    said = dict(follow("own_data.md", project, swapped, dict.fromkeys(long, nothing)))
    corpus = said["avemo corpus /data/recordings"]
    assert "folder, 12 clips" in corpus and "speakers: 2: anna 6, ben 6" in corpus
    assert "set corpus.emotions to the names in your order: [bored, contempt, joy]" in corpus
    assert f"draft: {recordings}/recordings/clips.draft.csv" in corpus
    assert said["avemo check"].startswith("params.yaml: valid")
    assert not re.search("^detect", said["avemo plan"], re.MULTILINE), "no detector is trained"
    assert "Counts (2 folds, 3 emotions)" in said["avemo plan"]


@pytest.mark.slow
def test_own_recordings_become_a_model(recordings, tmp_path):
    project = copy_project(tmp_path / "avemo")
    said = dict(follow("own_data.md", project, {"/data/": f"{recordings}/"}))
    assert "audio alone   accuracy" in said["avemo summary"]
    assert re.search(r"new\.wav +bored ", said["avemo predict /data/new.wav"])


@pytest.fixture(scope="module")
def savee(tmp_path_factory):
    """A folder that stands for `/data`: files named as SAVEE's 480, a few frames each."""
    data = tmp_path_factory.mktemp("data")
    film = make_video(data / "film.avi", 0.12, sound=None).read_bytes()
    title = f"{data.name}/film.avi".encode()
    assert film.count(title) == 1
    takes = {code: range(1, 31 if code == "n" else 16) for code in EMOTION_OF}
    names = [f"{code}{take:02d}" for code in takes for take in takes[code]]
    for number, (speaker, name) in enumerate(product(("DC", "JE", "JK", "KL"), names)):
        for kind in ("AudioData", "AudioVisualClip"):
            (data / "SAVEE" / kind / speaker).mkdir(parents=True, exist_ok=True)
        clip = data / "SAVEE/AudioVisualClip" / speaker / f"{name}.avi"
        clip.write_bytes(film.replace(title, f"{number:0{len(title)}d}".encode()))
        wav = data / "SAVEE/AudioData" / speaker / f"{name}.wav"
        soundfile.write(wav, 0.3 * np.sin(np.arange(4410) * (0.02 + number * 1e-4)), 44_100)
    return data


SPEEDS = Speeds(0.01, 0.1, *2 * [NetworkSpeeds(1.0, 0.5, 0.25, 0.1)], detector_bytes=166_000_000)
"""Of a machine; the bytes are those of a Faster R-CNN with ResNet-50."""


def test_savee_is_counted_and_planned(savee, tmp_path, monkeypatch):
    project = copy_project(tmp_path / "avemo")
    monkeypatch.setenv("AVEMO_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(weight_files, "_unreachable", lambda url, patience_s: "")
    monkeypatch.setattr(plan, "time_speeds", lambda *_: SPEEDS)  # its ResNet-50 takes a minute
    tables = "avemo tables --protocols paper,loso,loso_text"
    long = dict.fromkeys(("dvc repro", "avemo summary", tables), nothing)
    told = follow("savee.md", project, {"/data/": f"{savee}/"}, long)
    said = dict(told[:4])
    assert said["avemo corpus /data/SAVEE --name savee"].splitlines()[:3] == [
        f"{savee}/SAVEE: savee, 480 clips",
        "emotions: 7: anger 60, disgust 60, fear 60, happiness 60, neutral 120, sadness 60, "
        "surprise 60",
        "speakers: 4: DC 120, JE 120, JK 120, KL 120",
    ]
    assert said["avemo check"].startswith("params.yaml: valid")
    paper, left_out = (output for command, output in told if command == "avemo plan")
    assert "480 clips, 30 min, 18240 frames" in paper
    assert "1 + 3 detectors" in paper and "Counts (1 fold, 7 emotions)" in paper
    assert re.search(r"^total .* 3\.\d GB$", paper, re.MULTILINE), "the 3 GB of the page"
    assert "4 + 5 detectors" in left_out and "Counts (4 folds, 7 emotions)" in left_out
    monkeypatch.setattr(weight_files, "_unreachable", lambda url, patience_s: "offline")
    monkeypatch.chdir(project)
    assert all("cannot be reached (offline); fetch https://" in line for line in check())
    assert len(check()) == 3, "two audio networks and the detector"


@pytest.mark.slow
def test_savee_is_run_by_every_protocol(tmp_path, monkeypatch):
    """On the demo's clips, which lie as SAVEE's do, by the demo's small networks."""
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    project = copy_project(tmp_path / "avemo", {"demo": {"speakers": 4}})
    with contextlib.chdir(project):
        run_all("avemo demo")
    shutil.copytree(project / "data/demo", tmp_path / "SAVEE")
    tables = "avemo tables --protocols paper,loso,loso_text"
    few = " --seeds 1 --systems audio_wavegram_logmel"
    said = dict(
        follow(
            "savee.md",
            project,
            {"/data/": f"{tmp_path}/", tables: tables + few},
            after={
                "avemo preset savee --root /data/SAVEE": make_small,
                "avemo preset savee_loso --root /data/SAVEE": make_small,
            },
        )
    )
    assert set(stages_run(said["dvc repro"])) >= {"extract", "annotate", "detect", "fuse"}
    assert "fused         accuracy" in said["avemo summary"]
    assert re.search(r"^detect +4 \+ \d+ detectors", said["avemo plan"], re.MULTILINE)
    page = (project / "results/tables.md").read_text(encoding="utf-8")
    assert all(protocol in page for protocol in ("paper", "loso", "loso_text"))


def make_small(folder: Path) -> None:
    """Networks of the demo's size, from random weights, in place of SAVEE's."""
    demo = YAML().load((ROOT / "presets/demo.yaml").read_text(encoding="utf-8"))
    set_params(folder, {"detector": demo["detector"], "embed": {"weights": "untrained"}})
    set_params(folder, {name: part for name, part in TINY.items() if name != "demo"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project after `make demo`."""
    folder = copy_project(tmp_path_factory.mktemp("finished") / "avemo")
    dvc(folder, "repro")
    return folder


TICKED = tuple(frame_name("DC_a01", frame) for frame in (0, 1))
"""Frames that the reader takes for wrong; of these two the first is."""


def save_list(folder: Path) -> None:
    """What the gallery's page does on `Save list`, and the browser."""
    (folder / "frames.txt").write_text("".join(f"{name}\n" for name in TICKED))


def drag_corner(folder: Path) -> None:
    """What a person does in labelImg, which the command would open."""
    assert (folder / "frames/classes.txt").is_file()
    assert (folder / "frames/JPEGImages" / f"{TICKED[0]}.jpg").is_file()
    path = folder / "frames/Annotations" / f"{TICKED[0]}.xml"
    path.write_text(re.sub("<xmin>.*</xmin>", "<xmin>30</xmin>", path.read_text()))


LABEL_IMG = "labelImg frames/JPEGImages frames/classes.txt frames/Annotations"


def corrected_in(told: list[tuple[str, str]], folder: Path) -> None:
    """Hold what commands of `correct_annotations.md` said and left against the page."""
    said = dict(told)
    assert "of alike ones: file://" in said["avemo gallery"]
    assert said["avemo corrections export frames.txt frames"] == "frames: 2 frames\n"
    imported = said["avemo corrections import frames"].splitlines()
    assert imported[:2] == [f"{TICKED[0]}: 1 moved", "1 frame corrected, 1 as they were"]
    kept = [path.name for path in (folder / "annotations/corrections").glob("*.xml")]
    assert kept == [f"{TICKED[0]}.xml"]
    index = (folder / "results/gallery/frames.js").read_text(encoding="utf-8")
    gallery = json.loads(index.removeprefix("const GALLERY = ").removesuffix(";\n"))
    bit = 1 << gallery["reasons"].index("corrected")
    listed = [(gallery["clips"][run[0]][0], run[3]) for run in gallery["runs"] if run[4] == bit]
    assert listed == [("DC_a01", 0)]


def test_a_correction_is_made_and_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    project = copy_project(tmp_path / "avemo", {"demo": {"speakers": 1, "takes": 1}})
    with contextlib.chdir(project):
        run_all("avemo demo", "avemo extract", "avemo annotate")
    told = follow(
        "correct_annotations.md",
        project,
        instead={LABEL_IMG: drag_corner, "dvc repro": lambda _: run_all("avemo annotate")},
        after={"avemo gallery": save_list},
    )
    corrected_in(told, project)


@pytest.mark.slow
def test_a_correction_runs_again_what_has_learned_from_the_frames(finished, tmp_path):
    project = Path(shutil.copytree(finished, tmp_path / "avemo", symlinks=True))
    told = follow(
        "correct_annotations.md",
        project,
        instead={LABEL_IMG: drag_corner},
        after={"avemo gallery": save_list},
    )
    corrected_in(told, project)
    output = dict(told)["dvc repro"]
    again = ["annotate", "detect", "embed_faces", "fuse", "pack", "report"]
    assert stages_run(output) == again
    (annotated,) = [line for line in output.splitlines() if line.startswith("annotate: ")]
    assert "28 clips" in annotated and "27 from cache" in annotated, annotated


def test_two_made_up_runs_are_compared_and_the_change_is_undone(tmp_path):
    project = copy_project(tmp_path / "avemo")
    before = (project / "params.yaml").read_bytes()
    make_run(tmp_path / "head", "audio_cnn")
    make_run(tmp_path / "half", "av_faster_rcnn")
    long = dict.fromkeys(
        (
            "make baseline", "make runs", "dvc repro", "dvc metrics diff",
            "dvc exp show --only-changed", "dvc exp apply half",
        ),
        nothing,
    )  # fmt: skip
    run = "dvc exp run -n half -S loss.alpha=0.5"
    folders = {"HEAD half": f"{tmp_path / 'head/results'} {tmp_path / 'half/results'}"}
    halve = {run: lambda folder: set_params(folder, {"loss": {"alpha": 0.5}})}
    said = dict(follow("compare_runs.md", project, folders, long | halve))
    assert re.search(r"loss\.alpha +1\.0 +0\.5", said["dvc params diff"])
    compared = said["avemo compare HEAD half"]
    assert "McNemar" in compared and "accuracy (WA)" in compared
    assert (project / "params.yaml").read_bytes() == before


@pytest.mark.slow
def test_two_runs_are_compared(finished, tmp_path):
    project = Path(shutil.copytree(finished, tmp_path / "avemo", symlinks=True))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, project)
        git(project, "add", name)
    git(project, "commit", "-qm", "Set up")
    (project / ".venv").mkdir()
    (project / ".venv/ready").touch()  # `make` finds this Python by the path
    told = follow("compare_runs.md", project)
    said = dict(reversed(told))  # of a command that comes twice, what it said first
    assert re.match(r"baseline: \w+ Baseline$", said["make baseline"].splitlines()[-1])
    half = said["dvc exp run -n half -S loss.alpha=0.5"]
    assert stages_run(half) == ["fuse", "pack", "report"]
    assert re.search(r"loss\.alpha +1\.0 +0\.5", said["dvc params diff"])
    assert re.search(r"results/metrics\.json +nll", said["dvc metrics diff"])
    assert "McNemar" in said["avemo compare HEAD half"]
    assert stages_run(said["dvc repro"]) == []
    for table in ("make runs", "dvc exp show --only-changed"):
        assert "half" in said[table], table
    again = [output for command, output in told if command == "make baseline"]
    assert again[0] != again[1], "the run that was kept is another baseline"
