"""Docs, docstrings and messages name files and modules that exist, and docs explain all scores."""

import csv
import json
import re
import subprocess

import pytest
from test_house import FILES

from models.faces.scores import score_frames
from pipeline.report import run
from pipeline.work.closure import PROJECT as ROOT

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
]
TOP = "annotations|benchmarks|docs|models|pipeline|presets|stages|tests"
FILE = re.compile(rf"(?<![\w./-])(?:{TOP})/[\w/-]+\.(?:py|md|yaml|html|css)\b")
FOLDER = re.compile(rf"(?<![\w./-])(?:{TOP})(?:/[\w-]+)+/(?=`)")
MODULE = re.compile(r"(?<=`)(?:annotations|models|pipeline|stages)(?:\.\w+)+(?=`)")


@pytest.mark.parametrize("name", [*PAGES, *FILES])
def test_paths_that_a_text_names_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in [*FILE.findall(text), *FOLDER.findall(text)]:
        assert (ROOT / path).exists(), f"{name} names {path}"
    for dotted in MODULE.findall(text):
        assert _exists(dotted), f"{name} names {dotted}"


def _exists(dotted: str) -> bool:
    """Whether a module is there, or a module with the last name in it."""
    path, _, last = dotted.replace(".", "/").rpartition("/")
    if (ROOT / path / last).is_dir() or (ROOT / path / f"{last}.py").is_file():
        return True
    module = ROOT / f"{path}.py"
    return module.is_file() and re.search(rf"\b{last}\b", module.read_text("utf-8")) is not None


def test_every_score_is_explained():
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    parts = (run.Scores, run.BranchScores, run.EmotionScores, run.Gain, run.Answered)
    names = {name for part in parts for name in part.model_fields}
    for name in names | score_frames([], learned_sigma=True, emotions=True).keys():
        assert re.search(rf"`(?:\w+\.|\*\.)*{name}(?:\.\*\.\w+)?`", page), name


def test_the_readme_shows_the_figures_committed_with_it():
    """With it, not those of today: a run of one's own rewrites `results/metrics.json`."""
    commit = git("log", "-1", "--format=%h", "--", "README.md")
    figures = json.loads(git("show", f"{commit}:results/metrics.json"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = r"^fused +accuracy (\S+) \[(\S+), (\S+)\] +UAR (\S+) +macro F1 (\S+)"
    keys = ("accuracy", "accuracy_low", "accuracy_high", "uar", "macro_f1")
    shown = dict(zip(keys, re.search(line, readme, re.M).groups(), strict=True))
    for branch in ("audio", "visual"):
        shown[f"{branch}_accuracy"] = re.search(rf"^{branch} alone +accuracy (\S+)", readme, re.M)[
            1
        ]
    shown |= {key: re.search(rf"{key} (\S+)", readme)[1] for key in ("ap75", "mean_iou")}
    for key, value in shown.items():
        assert float(value) == pytest.approx(figures[key], abs=5.1e-4), key


def test_the_readme_shows_the_demo_seeds_as_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| protocol |")[2].partition("\n\n")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| (\d.*) \|$", table, re.M))
    with (ROOT / "benchmarks/demo_seeds.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["protocol"]: row for row in csv.DictReader(stream)}
    assert shown.keys() == rows.keys() >= {"paper", "loso"}
    assert int(rows["paper"]["seeds"]) >= 5
    for protocol, row in rows.items():
        figures = [float(text) for text in re.findall(r"[-+]?\d+(?:\.\d+)?", shown[protocol])]
        ends = ("", "_low", "_high")
        names = [f"accuracy{end}" for end in ends] + ["audio", "visual"]
        names += [f"{gain}{end}" for gain in ("over_best", "over_sum") for end in ends]
        expected = [int(row["seeds"]), *(100 * float(row[name]) for name in names)]
        assert figures == pytest.approx(expected, abs=0.051), protocol


def test_the_readme_shows_the_boxes_as_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| boxes |")[2].partition("\n\n")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| (\d.*) \|$", table, re.M))
    with (ROOT / "benchmarks/demo_boxes.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert shown.keys() == {row["protocol"] for row in rows}
    for protocol, cells in shown.items():
        measured = [row for row in rows if row["protocol"] == protocol]
        names = [f"{ref}_{score}" for ref in ("truth", "dlib") for score in ("mean_iou", "ap90")]
        means = [sum(float(row[name]) for row in measured) / len(measured) for name in names]
        assert [float(cell) for cell in cells.split("|")] == pytest.approx(means, abs=0.0051)


def test_the_robustness_page_shows_training_against_damage_as_measured():
    with (ROOT / "benchmarks/demo_damage.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    page = (ROOT / "docs/robustness.md").read_text(encoding="utf-8")
    section = page.partition("## Training against it")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if re.match(r"\| .* \d", line)]
    kinds = dict.fromkeys(row["condition"] for row in rows)
    for line, condition in zip(lines, kinds, strict=True):
        cells = line.strip("|").split("|")[1:]
        measured = (("accuracy", "plain"), ("accuracy", "against_damage"))
        measured += (("nll", "plain"), ("nll", "against_damage"))
        for cell, (score, trained) in zip(cells, measured, strict=True):
            shown = [float(text) for text in cell.split(",")]
            expected = [
                float(row[score]) * (100 if score == "accuracy" else 1)
                for row in rows
                if row["condition"] == condition and row["trained"] == trained
            ]
            digits = 0.51 if score == "accuracy" else 0.0051
            assert shown == pytest.approx(expected, abs=digits), line


@pytest.mark.parametrize("system", ["audio_speech", "audio_compact"])
def test_the_page_of_corpora_shows_the_folds_of_ravdess_as_measured(system):
    with (ROOT / f"benchmarks/ravdess_{system}.csv").open(newline="", encoding="utf-8") as stream:
        folds = list(csv.DictReader(stream))
    page = (ROOT / "docs/corpora.md").read_text(encoding="utf-8")
    means = []
    for score in ("wa", "ua"):
        percent = [100 * float(fold[score]) for fold in folds]
        row = " | ".join(f"{value:.1f}" for value in percent)
        assert f"| {score.upper()}, % | {row} |" in page
        means.append(f"{sum(percent) / len(percent):.1f}")
        mean = f"a mean {score.upper()} of {means[-1]}%"
        assert mean in page[page.index(f"`{system}`") :].replace("\n", " ")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(rf"^\| `{system}`, .*? \| (\S+).* \| (\S+).* \| .* \|$", readme, re.M)
    assert list(line.groups()) == means


def test_the_readme_shows_the_shipped_model_as_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"^\| `audio_speech`, .*? \| (.+) \| (.+) \| .* \|$", readme, re.M)
    card = ROOT / "models/pretrained/audio_speech/model.json"
    scores = json.loads(card.read_text(encoding="utf-8"))["metrics"]["branches"]["audio"]
    for shown, name in zip(line.groups(), ("accuracy", "uar"), strict=True):
        interval = scores[f"{name}_95"]
        expected = [100 * value for value in (scores[name], interval["low"], interval["high"])]
        figures = [float(text) for text in re.findall(r"\d+\.\d+", shown)]
        assert figures == pytest.approx(expected, abs=0.051)


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_ablations_are_shown_as_measured():
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    table = page.partition("| study |")[2].partition("\n\n")[0]
    shown = re.findall(r"^\| (\w+) \| (\w+) \| (\d.*) \|$", table, re.M)
    with (ROOT / "benchmarks/demo_ablations.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(study, variant) for study, variant, _ in shown] == [
        (row["study"], row["variant"]) for row in rows
    ]
    for (_, variant, cells), row in zip(shown, rows, strict=True):
        names = [f"{name}{end}" for name in ("accuracy", "gain") for end in ("", "_low", "_high")]
        expected = [100 * float(row[name]) for name in names if row[name]]
        figures = [float(text) for text in re.findall(r"[-+]?\d+(?:\.\d+)?", cells)]
        assert figures == pytest.approx(expected, abs=0.051), variant
        assert (row["seeds"], row["clips"]) == ("3", "28")
