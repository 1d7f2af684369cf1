import math
import re
import shutil
import struct
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_run import make_run

from pipeline.errors import CorpusError
from pipeline.files import file_digest, write_json
from pipeline.report.charts import abbreviations, confusion_matrix, rows
from pipeline.report.figures import coverage, losses_of
from pipeline.report.overview import overview_figure
from pipeline.report.page import render
from pipeline.report.plots import write_plots
from pipeline.report.results import read_results
from pipeline.report.run import Protocol, Scores, read_run, write_run
from pipeline.report.sections import SECTIONS
from pipeline.report.words import meaning
from pipeline.scores.intervals import Interval
from pipeline.scores.metrics import summarise
from pipeline.splits import Fold
from pipeline.systems import SYSTEMS
from pipeline.work.occasion import Hardware, Occasion

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
         "--disable-sync --no-first-run").split()  # fmt: skip
OCCASION = Occasion(
    stage="fuse", began=datetime(2026, 3, 9, 14, 5, tzinfo=UTC), seconds=3725, commit="c0ffee" * 6,
    dirty=True, changed={"loss.alpha": ("1.0", "0.5")}, corpus_root="/recordings/savee",
    hardware=Hardware(cpu="A processor", cores=1, memory_gib=7.9, gpu=None),
    versions={"python": "3.11.7", "torch": "2.0"}, run="",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("av"))


@pytest.fixture(scope="module")
def finished(folder):
    return replace(read_results(folder), occasions=[OCCASION])


@pytest.fixture(scope="module")
def page(finished):
    return render(finished)


def only(*keys):
    return [spec for spec in SECTIONS if spec.key in keys]


def changed(finished, **parts):
    """The same results of a run that differs in some parts."""
    return replace(finished, run=finished.run.model_copy(update=parts))


def on_corpus(finished, name, labels="acted", audio_weights="published"):
    method = finished.run.method.model_copy(update={"audio_weights": audio_weights})
    corpus = finished.run.corpus.model_copy(update={"name": name})
    params = {**finished.run.params, "corpus": {"label_source": labels}}
    return changed(finished, corpus=corpus, method=method, params=params)


class Elements(HTMLParser):
    """What a page is made of: ids, tags, addresses and its text in order."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.tags, self.addresses, self.texts = [], [], [], []
        self.unnamed_pictures = 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[key] for key in ("href", "src", "xlink:href") if key in values]
        self.unnamed_pictures += values.get("role") == "img" and not values.get("aria-label")

    def handle_data(self, data):
        if self.tags[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())


def test_a_run_is_read_as_it_was_written(tmp_path, finished):
    write_run(tmp_path / "run.json", finished.run)
    assert read_run(tmp_path / "run.json") == finished.run


def test_a_run_of_another_version_names_what_is_wrong(tmp_path, folder):
    text = (folder / "run.json").read_text()
    (tmp_path / "run.json").write_text(text.replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(CorpusError, match=r"schema_version: .*; run `dvc repro fuse`"):
        read_run(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("accuracy: 1")
    with pytest.raises(CorpusError, match=r"run\.json: not a run of this version"):
        read_run(tmp_path / "run.json")


def test_page_opens_with_what_a_reader_must_know(page, finished):
    texts = Elements(page).texts
    body = texts[texts.index("avemo report") + 1 :]  # after <title>
    assert body[0].startswith("Demo corpus: the faces are drawn")
    assert "say nothing about people" in body[0]
    assert body[1].startswith("The audio network is untrained")
    savee = render(on_corpus(finished, "savee"), [])
    assert 'class="notice"' not in savee
    assert "a landmark, not a comparison" not in savee


def test_a_folder_of_ones_own_has_no_paper_and_no_actors(finished, page):
    own = render(on_corpus(finished, "folder", "named"))
    for words in ("the paper, on SAVEE", "shown on request", "an actor"):
        assert words in page and words not in own


@pytest.mark.parametrize("corpus", ["savee", "ravdess", "cremad", "folder"])
def test_meaning_says_whose_labels_they_are_and_what_was_never_tried(finished, corpus):
    acted, crowd = (
        " ".join(meaning(on_corpus(finished, corpus, labels))) for labels in ("acted", "crowd")
    )
    assert "shown on request" in acted and "most raters saw or heard" not in acted
    assert "shown on request" not in crowd and "most raters saw or heard" in crowd
    weights = "not run this project with the published weights of the audio networks"
    assert weights in acted
    untrained = " ".join(meaning(on_corpus(finished, corpus, audio_weights="untrained")))
    assert weights not in untrained
    assert ("Its developers have" in untrained) == (corpus != "folder")


def test_page_needs_nothing_from_elsewhere(page):
    elements = Elements(page)
    needed = [address for address in elements.addresses if address != "gallery/index.html"]
    assert all(address.startswith(("data:", "#")) for address in needed)
    assert "script" not in elements.tags
    assert not re.search(r"@import|url\((?!#)", page)
    inner = [address[1:] for address in elements.addresses if address.startswith("#")]
    assert set(inner) <= set(elements.ids)


def test_ids_are_unique_and_pictures_have_words(page):
    elements = Elements(page)
    assert len(elements.ids) == len(set(elements.ids))
    assert elements.unnamed_pictures == 0
    assert "annotated face x1 " in page


def test_page_says_the_figures_of_the_run(page, finished):
    texts = Elements(page).texts
    row = finished.run.scores.branches["av"]
    for value in (row.accuracy, row.uar, row.macro_f1):
        assert f"{value:.1%}" in texts
    assert {"the paper, on SAVEE", "majority class", "chance", "63.1%"} <= set(texts)
    assert {spec.key for spec in SECTIONS} <= set(Elements(page).ids)
    assert "Log p is divided by a temperature, 1/T = 0.50 fitted on" in page
    assert "answer of the fused network" in page
    assert "Not part of this run" not in page


def test_page_says_when_where_and_with_what(page):
    texts = Elements(page).texts
    assert "09 March 2026, commit c0ffeec0ff with uncommitted changes" in texts
    assert {"2026-03-09 14:05 UTC", "1 h 02 min", "/recordings/savee", "training 7"} <= set(texts)
    assert "loss.alpha 0.5 (commit: 1.0)" in texts
    assert "demo, except audio.epochs 5 (preset: 40)" in texts
    assert "A processor, 1 core, 8 GiB memory, no GPU" in texts


def test_a_note_of_another_run_is_not_shown(tmp_path, folder):
    results = tmp_path / "results"
    shutil.copytree(folder, results)
    for run, known in ((file_digest(results / "run.json"), ["fuse"]), ("other", [])):
        note = OCCASION.model_copy(update={"run": run})
        write_json(results / "occasion" / "fuse.json", note.model_dump(mode="json"))
        assert [one.stage for one in read_results(results).occasions] == known


def test_the_occasion_can_be_cut_out_of_the_page(page, finished):
    """What is left of two equal runs on two days is equal."""
    cut = re.compile("<!--occasion-->.*?<!--/occasion-->", re.DOTALL)
    later = replace(finished, occasions=[], committed_test_set="other")
    assert render(later) != page
    lines = [[t for t in cut.sub("", p).split("\n") if t] for p in (page, render(later))]
    assert lines[0] == lines[1]


def test_other_test_clips_than_the_committed_ones_are_flagged(finished):
    warning = "Other test clips than the committed run"
    same = replace(finished, committed_test_set=finished.run.protocol.test_set)
    assert warning not in render(same, [])
    assert warning not in render(replace(finished, committed_test_set=""), [])
    assert warning in render(replace(finished, committed_test_set="0123456789ab"), [])


def test_whether_speakers_are_new_is_read_from_the_folds(finished):
    main = finished.main
    speaker = dict(zip(main.clip_id, main.speaker, strict=True))
    split = finished.run.protocol.split

    def told(train, test):
        protocol = Protocol.of(split, [Fold("one", train, test)], speaker, "0123456789ab")
        return " ".join(meaning(changed(finished, protocol=protocol)))

    first, second = (tuple(i for i in speaker if speaker[i] == name) for name in ("DC", "JE"))
    assert "No test speaker was in training" in told(first, second)
    assert "All test speakers were in training too" in told(first[1:], first[:1])
    assert "1 of 2 test speakers were in training too" in told(first[1:], (first[0], *second))


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        ("demo", "so that face and voice complement each other"),
        ("savee", "blue markers"),
        ("savee", "about 75% under `loso`"),
        ("savee", "assumed order of the neutral sentences"),
        ("savee", "not run this project on SAVEE itself"),
    ],
)
def test_what_to_beware_of_is_said_of_its_corpus_alone(finished, corpus, words):
    assert words in " ".join(meaning(on_corpus(finished, corpus)))
    assert words not in " ".join(meaning(on_corpus(finished, "ravdess")))


def test_a_figure_has_one_interval(finished):
    """All clips answered at 0%: that accuracy is the headline's, and so is its interval."""
    accuracy = finished.run.scores.branches["av"].interval("accuracy")
    ends = f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}"
    assert render(finished, only("confidence")).count(ends) >= 3  # headline, table, abstention
    scores = summarise(finished.branches, 0.0) | {
        "as_trained": {},
        "weights": {},
        "collapsed": (),
        "faceless": 0,
    }
    everyone = Scores.of(scores).abstention.accuracy_95
    assert (everyone.low, everyone.high) == (accuracy.low, accuracy.high)


def test_under_several_folds_the_page_says_whose_temperature_it_shows(finished):
    assert "the mean of" not in render(finished, only("confidence"))
    folds = finished.run.protocol.folds * 4
    protocol = finished.run.protocol.model_copy(update={"folds": folds})
    page = render(changed(finished, protocol=protocol), only("confidence"))
    assert "1/T = 0.50, the mean of 4 folds, fitted on training clips that were held out" in page
    assert "pool" not in page


def test_a_pool_is_named_wherever_its_answer_is_shown(tmp_path):
    results = read_results(make_run(tmp_path, pool=True))
    page = render(results)
    assert page.count("audio-visual (pool)") >= 3
    assert "answer of the pool of network and branches" in page
    assert "the fused network 0.50, audio only 0.50, visual only 0.50" in page


def test_the_total_is_apart_from_its_terms(finished):
    phases = losses_of(finished.history, finished.detector_history)
    assert list(phases) == ["audio", "visual", "warmup", "joint", "detector"]
    assert phases["joint"].title.startswith("Eq. (4)")
    assert list(phases["joint"].terms) == ["L_av", "L_a", "L_v"]
    alone = [{"fold": "f", "phase": "audio", "epoch": "1", "total": "0.5", "l_a": "0.5"}]
    assert losses_of(alone, [])["audio"].terms == {}


def test_same_run_gives_the_same_bytes(page, finished, folder, tmp_path):
    again = replace(read_results(folder), occasions=[OCCASION])
    assert render(again) == page
    for part in ("one", "two"):
        write_plots(again, tmp_path / part)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_plots_are_pictures_that_need_no_network(finished, tmp_path):
    write_plots(finished, tmp_path / "plots")
    pictures = sorted((tmp_path / "plots").iterdir())
    assert [path.name for path in pictures] == ["confusion.svg", "loss.svg", "reliability.svg"]
    for path in pictures:
        root = ET.parse(path).getroot()
        assert root.get("width") and root.get("height")
        links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)


def test_names_from_the_corpus_cannot_become_markup(finished):
    (reject,) = finished.run.corpus.quarantined
    odd = reject.model_copy(update={"file": "<script>alert(1)</script>.wav"})
    corpus = finished.run.corpus.model_copy(update={"quarantined": (odd,)})
    page = render(changed(finished, corpus=corpus), only("quarantine"))
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_audio_only_run_says_what_is_not_part_of_it(tmp_path):
    finished = read_results(make_run(tmp_path, "audio_wavegram_logmel"))
    page = render(finished, only("clips", "detector", "annotations", "occasion"))
    assert page.count("Not part of this run.") == 3
    assert "sound only" in page
    overview_figure(finished, tmp_path / "overview.png")


def test_run_without_mistakes_or_detections(finished):
    right = replace(finished.main, predicted=finished.main.emotion)
    sections = only("clips", "detector", "quarantine")
    corpus = finished.run.corpus.model_copy(update={"quarantined": ()})
    clean = replace(changed(finished, corpus=corpus), branches={"av": right}, detections=[])
    page = render(clean, sections)
    assert page.count("None.") == 1
    assert "every recording was used" in page


def test_detector_without_sigma_or_frames_says_so(finished):
    plain = changed(finished, detector={**finished.run.detector, "sigma_nll": None})
    assert "trained without sigma" in render(plain, only("detector"))
    empty = changed(finished, detector={"frames": 0, "note": "none of the 9 clips has video"})
    page = render(empty, only("detector"))
    assert "Not part of this run. none of the 9 clips has video." in page


def test_boxes_before_and_after_joint_training_are_told_apart(finished):
    after = {**finished.run.detector, "mean_iou": 0.123, "warning": "after it, it failed"}
    page = render(changed(finished, joint_detector=after), only("detector"))
    headline, _, section = page.partition("Before joint training")
    before, _, after_it = section.partition("After joint training")
    assert "0.936" in before and "0.123" in after_it and "0.123" in headline
    assert "The answers come from these" in after_it
    assert "After it, it failed." in page
    assert "joint" not in render(finished, only("detector"))


def test_coverage_of_normal_errors_is_what_it_states():
    errors = np.abs(np.random.default_rng(0).normal(size=20_000))
    stated, found = coverage(errors)
    assert np.abs(found - stated).max() < 0.015
    assert coverage(errors / 2)[1][25] > stated[25] + 0.2


def test_tables_of_two_runs_are_refused(tmp_path):
    results = make_run(tmp_path, "audio_cnn")
    table = results / "predictions.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(CorpusError, match=r"holds 111 test clips and run\.json 112"):
        read_results(results)


def test_damaged_products_name_their_stage(tmp_path, folder):
    results = tmp_path / "results"
    shutil.copytree(folder, results)
    frame = next((results / "frames").iterdir())
    frame.unlink()
    with pytest.raises(CorpusError, match=rf"{frame.name}: no such file; run `dvc repro fuse`"):
        read_results(results)
    detections = results / "detector" / "detections.csv"
    detections.write_text(detections.read_text().replace("sigma_x1", "sigma"))
    with pytest.raises(CorpusError, match=r"line 2: no column sigma_x1; run `dvc repro detect`"):
        read_results(results)


def test_a_system_without_a_published_figure_is_reported(finished, monkeypatch):
    own = replace(SYSTEMS[finished.run.system], paper=None)
    monkeypatch.setitem(SYSTEMS, finished.run.system, own)
    assert "the paper, on SAVEE" not in render(finished)


def test_stage_writes_page_plots_and_picture_from_results_alone(tmp_path, folder, capsys):
    from stages.report import main

    results = tmp_path / "results"
    shutil.copytree(folder, results)
    main(results)
    assert capsys.readouterr().out.startswith("report: 112 test clips")
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "stroke-dasharray" in page
    assert "resnet18_light detector, KL box loss, variance voting, frames weighted" in page
    assert (results / "plots" / "loss.svg").is_file()
    width, height = struct.unpack(">II", (results / "overview.png").read_bytes()[16:24])
    assert width > 2 * height > 800


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on the PATH")
@pytest.mark.parametrize("width", [390, 1400])
def test_page_in_a_browser(tmp_path, page, width):
    """No overflow, no figure of a branch cut off, no console message, no request but the page."""
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    console, requests = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        view = browser.new_page(viewport={"width": width, "height": 900})
        view.on("console", lambda message: console.append(message.text))
        view.on("pageerror", lambda error: console.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(path.as_uri())
        widest = view.evaluate("document.documentElement.scrollWidth")
        cut = view.evaluate(
            "[...document.querySelectorAll('.card svg, .stack td')]"
            ".filter(e => e.getBoundingClientRect().right > innerWidth).length"
        )
        browser.close()
    assert (widest, cut, console) == (width, 0, [])
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]


def test_charts_bear_any_names_of_emotions_and_many_of_them():
    names = ["$\\x$", "joy|fear", "contempt", "confusion", "a" * 60, *(f"e{n}" for n in range(15))]
    assert abbreviations(names)[:5] == ["$\\x", "joy", "cont", "conf", "aaa"]
    counts = np.eye(len(names)) * 3
    svg = confusion_matrix("av", counts, names)
    assert "$\\x$" in unescape(svg) and f"{'a' * 19}…" in svg and "a" * 20 not in svg
    few = confusion_matrix("av", counts[:7, :7], names[:7])
    wide, narrow = (float(re.search(r'viewBox="0 0 (\S+) ', one)[1]) for one in (svg, few))
    assert wide > 1.5 * narrow
    nobody = Interval(math.nan, 0.0, 1.0)
    assert 'aria-label="recall of the audio-visual branch: calm without clips."' in rows(
        "recall", ["calm"], {"av": [nobody]}
    )
