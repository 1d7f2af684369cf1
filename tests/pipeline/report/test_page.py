import re
import shutil
import struct
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from fake_run import make_run

from annotations.box import Box
from annotations.voc import Annotation, FaceObject
from annotations.voc import write as write_voc
from pipeline.errors import CorpusError
from pipeline.report.figures import coverage
from pipeline.report.overview import overview_figure
from pipeline.report.page import render
from pipeline.report.run import read_run
from pipeline.report.sections import SECTIONS
from pipeline.systems import SYSTEMS

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
         "--disable-sync --no-first-run").split()  # fmt: skip


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("av"))


@pytest.fixture(scope="module")
def finished(fake):
    return read_run(fake.sources, fake.facts)


@pytest.fixture(scope="module")
def page(finished):
    return render(finished)


def only(*keys):
    return [spec for spec in SECTIONS if spec.key in keys]


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


def test_page_opens_with_what_a_reader_must_know(page, fake, finished):
    texts = Elements(page).texts
    body = texts[texts.index("avemo report") + 1 :]  # after <title>
    assert body[0].startswith("Demo corpus: the faces are drawn")
    assert "say nothing about people" in body[0]
    assert body[1].startswith("The audio network is untrained")
    trained = replace(fake.facts, corpus="savee", audio_weights="published")
    savee = render(replace(finished, facts=trained), [])
    assert 'class="notice"' not in savee
    assert "a landmark, not a comparison" not in savee


def test_page_needs_nothing_from_elsewhere(page):
    elements = Elements(page)
    assert all(address.startswith(("data:", "#")) for address in elements.addresses)
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
    for name in ("accuracy", "uar", "macro_f1"):
        assert f"{finished.metrics[name]:.1%}" in texts
    assert {"the paper, on SAVEE", "majority class", "chance", "63.1%"} <= set(texts)
    assert {spec.key for spec in SECTIONS} <= set(Elements(page).ids)
    assert "the fused network 0.50, audio only 0.50, visual only 0.50" in page
    assert "Not part of this run" not in page


def test_same_run_gives_the_same_bytes(page, fake):
    assert render(read_run(fake.sources, fake.facts)) == page


def test_names_from_the_corpus_cannot_become_markup(finished):
    rejects = [replace(finished.rejects[0], file="<script>alert(1)</script>.wav")]
    page = render(replace(finished, rejects=rejects), only("quarantine"))
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_audio_only_run_says_what_is_not_part_of_it(tmp_path):
    fake = make_run(tmp_path, "audio_wavegram_logmel")
    finished = read_run(fake.sources, fake.facts)
    page = render(finished, only("clips", "detector", "annotations"))
    assert page.count("Not part of this run.") == 2
    assert "sound only" in page
    overview_figure(finished, tmp_path / "overview.png")


def test_run_without_mistakes_or_detections(finished):
    right = replace(finished.main, predicted=finished.main.emotion)
    sections = only("clips", "detector", "quarantine")
    page = render(replace(finished, branches={"av": right}, detections=[], rejects=[]), sections)
    assert page.count("None.") == 1
    assert "every recording was used" in page


def test_detector_without_sigma_or_frames_says_so(finished):
    plain = replace(finished, detector={**finished.detector, "sigma_nll": None})
    assert "trained without sigma" in render(plain, only("detector"))
    empty = replace(finished, detector={"frames": 0, "note": "none of the 9 clips has video"})
    page = render(empty, only("detector"))
    assert "Not part of this run. none of the 9 clips has video." in page


def test_coverage_of_normal_errors_is_what_it_states():
    errors = np.abs(np.random.default_rng(0).normal(size=20_000))
    stated, held = coverage(errors)
    assert np.abs(held - stated).max() < 0.015
    assert coverage(errors / 2)[1][25] > stated[25] + 0.2


def test_predicted_clip_unknown_to_the_corpus_is_refused(tmp_path):
    fake = make_run(tmp_path, "audio_cnn")
    table = fake.sources.clips
    table.write_text(table.read_text().replace("DC_an01", "DC_an99"))
    with pytest.raises(CorpusError, match="clip DC_an01 is not in"):
        read_run(fake.sources, fake.facts)


def test_damaged_tables_name_their_stage(tmp_path, fake):
    detections = (fake.sources.detector / "detections.csv").read_text()
    (tmp_path / "detections.csv").write_text(detections.replace("sigma_x1", "sigma"))
    with pytest.raises(CorpusError, match=r"not a table of detections .*sigma_x1"):
        read_run(replace(fake.sources, detector=tmp_path), fake.facts)
    (tmp_path / "metrics.json").write_text("accuracy: 1")
    with pytest.raises(CorpusError, match=r"metrics\.json: not a JSON object"):
        read_run(replace(fake.sources, metrics=tmp_path / "metrics.json"), fake.facts)


def test_a_system_without_a_published_figure_is_reported(fake, monkeypatch):
    own = replace(SYSTEMS[fake.facts.system], paper=None)
    monkeypatch.setitem(SYSTEMS, fake.facts.system, own)
    page = render(read_run(fake.sources, fake.facts))
    assert "the paper, on SAVEE" not in page


def test_stage_writes_page_and_picture(tmp_path, fake, monkeypatch, capsys):
    from stages.report import main

    source = fake.sources
    for jpeg in (source.voc / "JPEGImages").iterdir():
        corners = source.face_of(jpeg.stem)
        face = Annotation(jpeg.name, 320, 256, (FaceObject(Box(*corners).rounded()),))
        (source.voc / "Annotations").mkdir(exist_ok=True)
        write_voc(source.voc / "Annotations" / f"{jpeg.stem}.xml", face)
    params = {
        "system": fake.facts.system, "corpus": {"name": "demo"},
        "split": fake.facts.split.model_dump(mode="json"),
        "embed": {"weights": "untrained"}, "audio": {"handcrafted": True},
        "detector": {
            "weights": "untrained", "backbone": "resnet50", "box_loss": "kl", "voting": False
        },
        "visual": {"speech_weighting": False}, "fusion": {"joint": False},
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    out, overview = tmp_path / "report.html", tmp_path / "overview.png"
    main(
        source.clips, source.quarantine, source.annotation_metrics, source.voc, source.detector,
        source.predictions, source.history, source.metrics, out, overview,
    )  # fmt: skip
    assert capsys.readouterr().out.startswith("report: 112 test clips")
    page = out.read_text(encoding="utf-8")
    assert "stroke-dasharray" in page
    assert "resnet50 detector, KL box loss, NMS alone, all frames alike, staged training" in page
    width, height = struct.unpack(">II", overview.read_bytes()[16:24])
    assert width > 2 * height > 800


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on the PATH")
@pytest.mark.parametrize("width", [390, 1400])
def test_page_in_a_browser(tmp_path, page, width):
    """No overflow, nothing in the console, no request but the page itself."""
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    said, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        view = browser.new_page(viewport={"width": width, "height": 900})
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("request", lambda request: asked.append(request.url))
        view.goto(path.as_uri())
        widest = view.evaluate("document.documentElement.scrollWidth")
        cut = view.evaluate(
            "[...document.querySelectorAll('.card svg')]"
            ".filter(e => e.getBoundingClientRect().right > innerWidth).length"
        )
        browser.close()
    assert (widest, cut, said) == (width, 0, [])
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
