import json
import shutil
from dataclasses import astuple, replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.clips import EMOTIONS
from pipeline.errors import CorpusError
from pipeline.report.comparison.page import render, write_comparison
from pipeline.report.comparison.rows import (
    BOXES,
    BoxRow,
    MissingVariant,
    Setting,
    SystemRow,
    VariantRow,
    read_rows,
    write_rows,
)
from pipeline.report.comparison.scoring import BoxScores, box_rows, study_rows, system_rows
from pipeline.report.comparison.seeds import FACTS, PREDICTIONS, SUM, Seeds, over_seeds, read_seeds
from pipeline.report.comparison.studies import STUDIES, overrides_text
from pipeline.report.comparison.tables import ablations_text, fusion, systems, systems_text
from pipeline.scores.comparisons import holm
from pipeline.scores.intervals import difference, score_interval, wilson
from pipeline.scores.metrics import SCORES, accuracy
from pipeline.scores.predictions import Predictions, write_predictions
from pipeline.systems import OURS, SYSTEMS

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
         "--disable-sync --no-first-run").split()  # fmt: skip
KINDS = EMOTIONS[:7]
CLIPS = 28
TRUTH = np.arange(CLIPS) % len(KINDS)
DEMO = Setting(protocol="paper", corpus="demo", audio_weights="untrained")


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


WARNINGS = ("seed 0: the pool collapsed", "seed 0, 1: 2 of 28 test clips tie")


def trained(*runs, sums=(), pool=False, warnings=()):
    runs, sums = dict(enumerate(runs)), dict(enumerate(sums))
    weights = {"av": 0.25, "audio": 1.0} if pool else {"av": 0.25}
    return Seeds(runs, sums, 10_000, 90_000, 5_000.0, 1.5, 0.25, 0.5, weights, warnings)


@pytest.fixture
def rows():
    ours = {"av": wrong_on([0]), "audio": wrong_on([0, 1, 2]), "visual": wrong_on(range(9))}
    worse = {**ours, "av": wrong_on([0, 1])}
    constant = guesses(np.zeros(CLIPS, int))
    sums = [wrong_on([0, 1, 2, 3]), wrong_on([0])]
    systems = {
        "audio_cnn": trained({"audio": constant}, {"audio": constant}),
        "av_dnn": trained(*[{"av": wrong_on(range(7))}] * 2),
        "av_cnn": trained(*[{**ours, "av": wrong_on(range(5))}] * 2, sums=sums, pool=True),
        OURS: trained(ours, worse, sums=sums, warnings=WARNINGS),
    }
    refused = {"visual_cnn": "system visual_cnn needs video, and clips of this corpus have none"}
    phrases = {"audio_cnn": (), "av_dnn": ("X for Y",), "av_cnn": ("X for Y", "T"), OURS: ("T",)}
    return system_rows(DEMO, systems, refused, phrases)


def study(key):
    return next(study for study in STUDIES if study.key == key)


def all_studies():
    done = []
    for number, one in enumerate(STUDIES):
        branch = {variant.name: SYSTEMS[variant.system].branch for variant in one.variants}
        trials = {
            v.name: trained(*[{branch[v.name]: wrong_on(range((number + i) % 9))}] * 2)
            for i, v in enumerate(one.variants)
        }
        refused = {"staged": "no"} if one.key == "joint" else {}
        able = {k: v for k, v in trials.items() if k not in refused}
        done += study_rows(DEMO, one, able, refused)
    metrics = {"ap50": 0.9, "ap75": 0.8, "ap90": 0.3, "mean_iou": 0.85}
    variants = [
        BoxScores(
            name, (), {0: {**metrics, "truth": metrics}}, {0: {f"c{i}": iou for i in range(4)}}
        )
        for name, iou in (("smooth L1, NMS alone", 0.8), ("KL, variance voting", 0.82))
    ]
    return [*box_rows(DEMO, variants, {f"c{i}": "S" for i in range(4)}), *done]


def test_holm_of_a_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_interval_over_seeds_is_that_of_the_mean_over_seeds():
    """Two seeds of 28 clips are 28 clips of which the mean number is right, not 56."""
    both = over_seeds({0: wrong_on([0, 3, 9]), 1: wrong_on([0, 3, 5, 6, 20, 21])})
    found, expected = score_interval(both, accuracy), wilson(23.5, 28)
    assert (found.value, found.low) == pytest.approx((expected.value, expected.low))
    assert found.high == pytest.approx(expected.high)


def test_equal_seeds_are_worth_one():
    one = wrong_on([0, 3, 9])
    for score in SCORES.values():
        twice = score_interval(over_seeds({0: one, 1: one}), score)
        assert astuple(twice) == pytest.approx(astuple(score_interval(one, score)))


def test_rows_of_known_predictions(rows):
    by_system = {row.system: row for row in rows}
    ours, constant = by_system[OURS], by_system["audio_cnn"]
    assert ours.accuracy.value == pytest.approx((27 + 26) / 56)
    assert ours.accuracy.sd == pytest.approx(np.std([27 / 28, 26 / 28], ddof=1))
    assert constant.accuracy.value == constant.majority == pytest.approx(4 / 28)
    assert constant.uar.value == constant.chance == pytest.approx(1 / 7)
    assert (constant.seeds, constant.clips, constant.folds) == (2, 28, 1)
    # The first seed: ours is right on 27; the constant on clips 0, 7, 14, 21, of which ours has 3.
    discordant = 24 + 1
    assert constant.mcnemar_p == pytest.approx(2 * (1 + discordant) / 2**discordant)
    assert constant.holm_p == pytest.approx(3 * constant.mcnemar_p)
    assert constant.gain.value == pytest.approx((8 - 53) / 56)
    assert constant.gain.low < constant.gain.value < constant.gain.high < 0
    assert ours.gain is ours.mcnemar_p is ours.holm_p is None
    assert by_system["av_cnn"].speaker["S0"] == pytest.approx(2 / 7)
    assert by_system["av_cnn"].recall["anger"] == pytest.approx(3 / 4)


def test_fusion_is_measured_against_the_better_branch(rows):
    by_system = {row.system: row for row in rows}
    ours = by_system[OURS]
    assert (ours.best_branch, ours.over_best.value) == ("audio", pytest.approx(3 / 56))
    assert ours.over_best_worst_seed == pytest.approx(1 / 28)
    assert by_system["av_cnn"].over_best.value == pytest.approx(-2 / 28)
    assert by_system["audio_cnn"].over_best is None


def test_fusion_is_measured_against_the_sum_of_the_branches(rows):
    """Both seeds: fused wrong on {0} and {0, 1}, the sum on {0, 1, 2, 3} and {0}."""
    ours = next(row for row in rows if row.system == OURS)
    assert ours.branch_sum == pytest.approx((24 + 27) / 56)
    assert ours.over_sum.value == pytest.approx((53 - 51) / 56)
    fused = over_seeds({0: wrong_on([0]), 1: wrong_on([0, 1])})
    plain = over_seeds({0: wrong_on([0, 1, 2, 3]), 1: wrong_on([0])})
    assert ours.over_sum == difference(fused, plain, accuracy)
    assert next(row for row in rows if row.system == "av_dnn").over_sum is None


def test_network_and_pool_stand_beside_a_pooled_answer_alone(rows):
    done = [row for row in rows if isinstance(row, SystemRow)]
    plain = fusion([row for row in done if row.system == OURS])
    assert plain.head[-1] == "Gain over the sum" and len(plain.body[0]) == 8
    pooled = fusion(done)
    assert pooled.head[-2:] == ["Network alone", "Answer"]
    assert {line[-1] for line in pooled.body} == {"pool 0.25 / 1.00", "network, 1/T 0.25"}


def test_marks_in_a_row_are_drawn_together(rows):
    ours = next(row for row in rows if row.system == OURS)
    other = next(row for row in rows if row.system == "av_dnn")
    body = systems([replace(other, deviations=("b", "c", "x", "a", "e")),
                    replace(ours, deviations=("a", "b", "c", "d", "e"))]).body  # fmt: skip
    assert [line[0] for line in body] == ["av_dnn (1-3, 5-6)", f"{OURS} (1-5)"]


def test_systems_of_other_clips_are_refused():
    other = replace(wrong_on([0]), clip_id=tuple(f"d{i}" for i in range(CLIPS)))
    both = {"audio_cnn": trained({"audio": other}), OURS: trained({"av": wrong_on([0])})}
    with pytest.raises(CorpusError, match="only in one of"):
        system_rows(DEMO, both, {}, dict.fromkeys(both, ()))


def test_trials_are_read_back_over_seeds(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        # the seeds' splits drew different clips
        tested = replace(wrong_on([seed]), clip_id=tuple(f"c{i + 9 * seed:02}" for i in range(28)))
        write_predictions(folder / PREDICTIONS, {"av": tested})
        write_predictions(folder / SUM, {"av": tested})
        facts = {
            **{"trained": 1, "total": 2, "steps": 3 + seed, "train_s": seed, "infer_ms": 1.0},
            "as_trained": {"av": {"accuracy": seed}},
            "weights": {"av": 1.0 + seed},
            "collapsed": [],
            "ties": 2,
            "faceless": seed,
            "detector": None,
        }
        (folder / FACTS).write_text(json.dumps(facts))
    found = read_seeds({seed: tmp_path / str(seed) for seed in (0, 1)})
    assert (found.steps, found.train_s, found.headline) == (3.5, 0.5, "av")
    assert (found.network, found.weights) == (0.5, {"av": 1.5})
    assert [said.partition(" test clips")[0] for said in found.warnings] == [
        "seed 0, 1: 2 of 28", "seed 1: no face was found in 1 of 28",
    ]  # fmt: skip
    assert {*found.main.fold} == {"paper#0", "paper#1"} and len({*found.main.clip_id}) == 37
    other = replace(wrong_on([0]), clip_id=tuple(f"d{i:02}" for i in range(28)))
    write_predictions(tmp_path / "0" / SUM, {"av": other})
    with pytest.raises(CorpusError, match="only in one of the branches av and sum"):
        read_seeds({seed: tmp_path / str(seed) for seed in (0, 1)})


def test_rows_are_in_the_csv_to_four_decimals(rows, tmp_path):
    for name, written in (("tables", rows), ("ablations", all_studies())):
        path = tmp_path / f"{name}.csv"
        write_rows(path, written)
        again = read_rows(path)
        assert list(map(type, again)) == list(map(type, written))
        for one, two in zip(again, written, strict=True):
            assert one.name == two.name if hasattr(two, "name") else one.system == two.system
        first = path.read_bytes()
        write_rows(path, again)
        assert path.read_bytes() == first
    again = read_rows(tmp_path / "tables.csv")
    ours = next(row for row in again if row.system == OURS)
    assert ours.accuracy.value == pytest.approx((27 + 26) / 56, abs=5e-5)
    assert (ours.best_branch, ours.gain, ours.weight) == ("audio", None, {"av": 0.25})
    phrases = [row.deviations for row in again if isinstance(row, SystemRow)]
    assert phrases == [(), ("X for Y",), ("X for Y", "T"), ("T",)]
    assert (ours.trained, ours.steps) == (10_000, 5_000)
    assert ours.warnings == WARNINGS
    assert read_rows(tmp_path / "none.csv") == []


def test_a_damaged_csv_is_named_with_line_and_column(rows, tmp_path):
    path = tmp_path / "tables.csv"
    write_rows(path, rows)
    path.write_text(path.read_text().replace(",2,1,28,", ",2,one,28,", 1))
    with pytest.raises(CorpusError, match=r"tables\.csv line 2: folds: got 'one'.*delete it"):
        read_rows(path)
    path.write_text("protocol\n")
    with pytest.raises(CorpusError, match="no rows; delete it"):
        read_rows(path)


def test_markdown_tables_are_rectangular_and_open_with_the_notice(rows):
    for lines in (
        systems_text(rows, ["Demo corpus: drawn."]),
        ablations_text(all_studies(), ["Demo corpus: drawn."]),
    ):
        assert lines[0] == "**Demo corpus: drawn.**"
        assert all("\n" not in line for line in lines)
        cells = 0
        for before, line in zip(["", *lines], lines, strict=False):
            if line.startswith("|"):
                cells = cells if before.startswith("|") else line.count("|")
                assert line.count("|") == cells
    text = "\n".join(systems_text(rows, []))
    assert "| pool 0.25 / 1.00 |" in text and "94.6 [" in text and "| 63.1 [51.4, 73.4] |" in text
    assert "In the paper, fusion (63.1%) lies below the audio network in it alone (65.5%)" in text
    assert "\n1. T.\n2. X for Y.\n" in text, "ours first"
    assert "| av_cnn (pool) (1-2) |" in text and f"| {OURS} (1) |" in text
    assert "visual_cnn is absent: system visual_cnn needs video" in text
    assert f"\n- {OURS}, seed 0: the pool collapsed\n- {OURS}, seed 0, 1: 2 of 28" in text


def test_studies_have_distinct_variants_and_known_references():
    for one in STUDIES:
        names = [variant.name for variant in one.variants]
        assert len(names) == len(set(names))
        assert {variant.against for variant in one.variants} <= {"", *names}
    assert len(study("loss").variants) == 25 and len(study("sound").variants) == 6


def test_a_variant_that_could_not_run_is_named():
    rows = all_studies()
    ran, absent = (row for row in rows if row.study == "joint")
    assert isinstance(ran, VariantRow) and (ran.variant, ran.against) == ("joint", "")
    assert isinstance(absent, MissingVariant) and (absent.variant, absent.absent) == (
        "staged",
        "no",
    )
    (gain,) = (row.gain for row in rows if row.variant == "KL, variance voting")
    assert (gain.value, gain.low) == (pytest.approx(0.02), pytest.approx(0.02))
    assert [isinstance(row, BoxRow) for row in rows] == [row.study == BOXES for row in rows]


def test_overrides_can_be_pasted_behind_exp_run():
    joint = study("joint").variants[1]
    assert overrides_text(joint.overrides).startswith("fusion.joint=true fusion.epochs=3 ")
    assert overrides_text((("loss.alpha", 0.5), ("inner_folds.count", 0))) == (
        "loss.alpha=0.5 inner_folds.count=0"
    )


def test_joint_training_differs_from_staged_in_one_thing():
    staged, joint = (dict(variant.overrides) for variant in study("joint").variants)
    assert {key for key in joint if joint[key] != staged.get(key)} == {"fusion.joint"}
    for key in ("epochs", "lr"):
        assert staged[f"fusion.{key}"] == joint[f"fusion.joint_{key}"]


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
    write_comparison(tmp_path, "tables", rows)
    first = (tmp_path / "tables.html").read_text(encoding="utf-8")
    assert "Run <code>" not in first and "make ablations" in first
    write_comparison(tmp_path, "ablations", all_studies())
    page = (tmp_path / "tables.html").read_text(encoding="utf-8")
    elements = Elements(page)
    assert all(address.startswith(("data:", "#")) for address in elements.addresses)
    assert len(elements.ids) == len(set(elements.ids)) and "script" not in elements.tags
    assert page.index("Demo corpus: the faces are drawn") < page.index("<header>")
    assert "1 of 2 fused systems are; below it: av_cnn (paper)" in page
    write_comparison(tmp_path, "tables", rows)
    assert (tmp_path / "tables.html").read_text(encoding="utf-8") == page


def test_notices_are_those_of_the_rows(rows, tmp_path):
    write_comparison(tmp_path, "tables", rows)
    assert (tmp_path / "tables.md").read_text().startswith("**Demo corpus: ")


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on the PATH")
@pytest.mark.parametrize("width", [390, 1400])
def test_tables_in_a_browser(tmp_path, rows, width):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "tables.html"
    path.write_text(render(rows, all_studies()), encoding="utf-8")
    said = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        view = browser.new_page(viewport={"width": width, "height": 900})
        view.on("console", lambda message: said.append(message.text))
        view.goto(path.as_uri())
        widest = view.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert (widest, said) == (width, [])
