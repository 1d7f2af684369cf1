import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.clips import EMOTIONS
from pipeline.errors import CorpusError
from pipeline.report.comparison import ablations
from pipeline.report.comparison import rows as tables
from pipeline.report.comparison.ablations import BoxScores, box_rows, study_rows
from pipeline.report.comparison.files import (
    ablations_text,
    tables_text,
    write_ablations,
    write_systems,
)
from pipeline.report.comparison.page import render
from pipeline.report.comparison.rows import Origin, read_rows, system_rows, write_rows
from pipeline.report.comparison.trials import FACTS, PREDICTIONS, Pooled, pool, read_pooled
from pipeline.scores.comparisons import holm
from pipeline.scores.intervals import mean_interval, resample
from pipeline.scores.metrics import accuracy
from pipeline.scores.predictions import Predictions, write_predictions
from pipeline.systems import OURS, SYSTEMS

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
         "--disable-sync --no-first-run").split()  # fmt: skip
KINDS = EMOTIONS[:7]
CLIPS = 28
TRUTH = np.arange(CLIPS) % len(KINDS)
DEMO = Origin("demo", "untrained")


def guesses(predicted, fold="paper"):
    """Sure predictions of 28 clips by four speakers."""
    predicted = np.asarray(predicted)
    p = 0.999 * np.eye(len(KINDS))[predicted] + 0.001 / len(KINDS)
    return Predictions(
        KINDS, (fold,) * CLIPS, tuple(f"c{i:02d}" for i in range(CLIPS)),
        tuple(f"S{i // 7}" for i in range(CLIPS)), ("",) * CLIPS, TRUTH, predicted,
        p.max(axis=1), p,
    )  # fmt: skip


def wrong_on(clips):
    return guesses(np.where(np.isin(np.arange(CLIPS), clips), (TRUTH + 1) % len(KINDS), TRUTH))


def pooled(*seeds, stand_ins=()):
    seeds = dict(enumerate(seeds))
    return Pooled(seeds, 10_000, 90_000, 1.5, 0.25, stand_ins, 0.5, {"av": 0.25, "audio": 1.0})


@pytest.fixture
def rows():
    ours = {"av": wrong_on([0]), "audio": wrong_on([0, 1, 2]), "visual": wrong_on(range(9))}
    worse = {**ours, "av": wrong_on([0, 1])}
    constant = guesses(np.zeros(CLIPS, int))
    systems = {
        "audio_cnn": pooled({"audio": constant}, {"audio": constant}),
        "av_dnn": pooled(*[{"av": wrong_on(range(7))}] * 2, stand_ins=("X for Y.",)),
        "av_cnn": pooled(*[{**ours, "av": wrong_on(range(5))}] * 2, stand_ins=("X for Y.",)),
        OURS: pooled(ours, worse),
    }
    refused = {"visual_cnn": "system visual_cnn needs video, and clips of this corpus have none"}
    return system_rows("paper", systems, refused, DEMO)


def study(key):
    return next(study for study in ablations.STUDIES if study.key == key)


def all_studies():
    done = []
    about = {"protocol": "paper", "corpus": "demo", "audio_weights": "untrained"}
    for number, one in enumerate(ablations.STUDIES):
        branch = {variant.name: SYSTEMS[variant.system].branch for variant in one.variants}
        trials = {
            v.name: pooled(*[{branch[v.name]: wrong_on(range((number + i) % 9))}] * 2)
            for i, v in enumerate(one.variants)
        }
        refused = {"staged": "no"} if one.key == "joint" else {}
        done += study_rows(
            one, {k: v for k, v in trials.items() if k not in refused}, refused, about
        )
    metrics = {"ap50": 0.9, "ap75": 0.8, "ap90": 0.3, "mean_iou": 0.85}
    variants = [
        BoxScores(name, {}, {0: {**metrics, "truth": metrics}}, {f"c{i}": iou for i in range(4)})
        for name, iou in (("smooth L1, NMS alone", 0.8), ("KL, variance voting", 0.82))
    ]
    return box_rows(variants, {f"c{i}": "S" for i in range(4)}, about) + done


def test_holm_of_a_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_interval_of_pooled_seeds_is_that_of_the_mean_over_seeds():
    first, second = wrong_on([0, 3, 9]), wrong_on([0, 3, 5, 6, 20, 21])
    one = resample({"main": pool({0: first, 1: second})})["main"].interval(accuracy)
    both = resample({"first": first, "second": second})
    means = (accuracy(both["first"].draws) + accuracy(both["second"].draws)) / 2
    assert one.value == pytest.approx((25 / 28 + 22 / 28) / 2)
    assert (one.low, one.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_pooling_equal_seeds_changes_nothing():
    one = wrong_on([0, 3, 9])
    pooled_twice = resample({"x": pool({0: one, 1: one})})["x"].interval(accuracy)
    assert pooled_twice == resample({"x": one})["x"].interval(accuracy)


def test_mean_interval_holds_the_mean_and_draws_within_speakers():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    assert mean_interval(values, ["a", "a", "b", "b"]) == (0.5, 0.5)
    low, high = mean_interval(values, ["a"] * 4)
    assert (low, high) == (0.0, 1.0)


def test_rows_of_known_predictions(rows):
    by_system = {row["system"]: row for row in rows}
    ours, constant = by_system[OURS], by_system["audio_cnn"]
    assert ours["accuracy"] == pytest.approx((27 + 26) / 56, abs=1e-4)
    assert ours["accuracy_sd"] == pytest.approx(np.std([27 / 28, 26 / 28], ddof=1), abs=1e-4)
    assert constant["accuracy"] == constant["majority"] == pytest.approx(4 / 28, abs=1e-4)
    assert constant["uar"] == constant["chance"] == pytest.approx(1 / 7, abs=1e-4)
    assert (constant["seeds"], constant["clips"], constant["folds"]) == (2, 28, 1)
    # The first seed: ours is right on 27; the constant on clips 0, 7, 14, 21, of which ours has 3.
    discordant, lost = 24 + 1, 1
    assert constant["mcnemar_p"] == pytest.approx(2 * (1 + discordant) / 2**discordant, abs=1e-4)
    assert lost == 1 and constant["holm_p"] >= constant["mcnemar_p"]
    assert constant["gain"] == pytest.approx((8 - 53) / 56, abs=1e-4)
    assert constant["gain_low"] < constant["gain"] < constant["gain_high"] < 0
    assert "gain" not in ours
    assert by_system["av_cnn"]["speaker:S0"] == pytest.approx(2 / 7, abs=1e-4)
    assert by_system["av_cnn"]["recall:anger"] == pytest.approx(3 / 4)


def test_fusion_is_measured_against_the_better_branch(rows):
    by_system = {row["system"]: row for row in rows}
    ours = by_system[OURS]
    assert (ours["best_branch"], ours["over_best"]) == ("audio", pytest.approx(3 / 56, abs=1e-4))
    assert ours["over_best_worst_seed"] == pytest.approx(1 / 28, abs=1e-4)
    assert by_system["av_cnn"]["over_best"] == pytest.approx(-2 / 28, abs=1e-4)
    assert "over_best" not in by_system["audio_cnn"]


def test_systems_of_other_clips_are_refused():
    other = replace(wrong_on([0]), clip_id=tuple(f"d{i}" for i in range(CLIPS)))
    both = {"audio_cnn": pooled({"audio": other}), OURS: pooled({"av": wrong_on([0])})}
    with pytest.raises(CorpusError, match="only in one of"):
        system_rows("paper", both, {}, DEMO)


def test_pooled_trials_are_read_back(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_predictions(folder / PREDICTIONS, {"audio": wrong_on([seed])})
        facts = {
            **{"trained": 1, "total": 2, "train_s": seed, "infer_ms": 1.0, "stand_ins": ["X."]},
            "before_pooling": {"audio": {"accuracy": seed}},
            "pool": {"audio": 1.0 + seed},
        }
        (folder / FACTS).write_text(json.dumps(facts))
    found = read_pooled({seed: tmp_path / str(seed) for seed in (0, 1)})
    assert (found.train_s, found.stand_ins, found.headline) == (0.5, ("X.",), "audio")
    assert (found.unpooled, found.weights) == (0.5, {"audio": 1.5})
    assert {*found.main.fold} == {"paper#0", "paper#1"}


def test_csv_round_trip(rows, tmp_path):
    path = tmp_path / "tables.csv"
    write_rows(path, tables.COLUMNS, rows)
    again = read_rows(path)
    assert [{k: v for k, v in row.items() if v is not None} for row in again] == [
        {k: v for k, v in row.items() if v is not None} for row in rows
    ]
    assert read_rows(tmp_path / "none.csv") == []


def test_markdown_tables_are_rectangular_and_open_with_the_notice(rows):
    for lines in (
        tables_text(rows, ["Demo corpus: drawn."]),
        ablations_text(all_studies(), ["Demo corpus: drawn."]),
    ):
        assert lines[0] == "**Demo corpus: drawn.**"
        assert all("\n" not in line for line in lines)
        cells = 0
        for before, line in zip(["", *lines], lines, strict=False):
            if line.startswith("|"):
                cells = cells if before.startswith("|") else line.count("|")
                assert line.count("|") == cells
    text = "\n".join(tables_text(rows, []))
    assert "| 0.25 / 1.00 |" in text and "94.6 [" in text and "| 63.1 |" in text
    assert "1. av_dnn, av_cnn: X for Y." in text and "| av_cnn (1) |" in text
    assert "visual_cnn is absent: system visual_cnn needs video" in text


def test_studies_have_distinct_variants_and_known_references():
    for one in ablations.STUDIES:
        names = [variant.name for variant in one.variants]
        assert len(names) == len(set(names))
        assert {variant.against for variant in one.variants} <= {"", *names}
    assert len(study("loss").variants) == 25 and len(study("sound").variants) == 6


def test_a_variant_that_could_not_run_is_named(rows):
    joint = [row for row in all_studies() if row["study"] == "joint"]
    assert joint[0]["absent"] == "no" and joint[1]["accuracy"] is not None
    assert "against" not in joint[1]
    gain = next(r for r in all_studies() if r["variant"] == "KL, variance voting")
    assert (gain["gain"], gain["gain_low"]) == (pytest.approx(0.02), pytest.approx(0.02))


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.ids, self.addresses, self.tags = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[key] for key in ("href", "src", "xlink:href") if key in values]


def test_page_needs_nothing_from_elsewhere_and_repeats_itself(rows, tmp_path):
    write_systems(tmp_path, rows)
    first = (tmp_path / "tables.html").read_text(encoding="utf-8")
    assert "Run <code>" not in first and "make ablations" in first
    write_ablations(tmp_path, all_studies())
    page = (tmp_path / "tables.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert all(address.startswith(("data:", "#")) for address in elements.addresses)
    assert len(elements.ids) == len(set(elements.ids)) and "script" not in elements.tags
    assert page.index("Demo corpus: the faces are drawn") < page.index("<header>")
    assert "1 of 2 fused systems are; below it: av_cnn (paper)" in page
    write_systems(tmp_path, rows)
    assert (tmp_path / "tables.html").read_text(encoding="utf-8") == page


def test_notices_are_those_of_the_rows_not_of_todays_params(rows, tmp_path):
    write_systems(tmp_path, rows)
    assert (tmp_path / "tables.md").read_text().startswith("**Demo corpus: ")


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on the PATH")
@pytest.mark.parametrize("width", [390, 1400])
def test_tables_in_a_browser(tmp_path, rows, width):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "tables.html"
    path.write_text(render(rows, all_studies(), ["A notice."]), encoding="utf-8")
    said = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        view = browser.new_page(viewport={"width": width, "height": 900})
        view.on("console", lambda message: said.append(message.text))
        view.goto(path.as_uri())
        widest = view.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert (widest, said) == (width, [])
