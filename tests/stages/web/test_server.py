import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from demo_clips import draw_demo
from project_copy import ROOT

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def serving(folder):
    """`avemo app` as a user calls it, with `folder` for temporary files; its address."""
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.cli.app", "app", "--model", "pretrained"]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="needs chromium")
def test_a_new_user_gets_an_answer_and_nothing_leaves_the_machine(tmp_path):
    """On a telephone, whose page is then as wide as a desk's."""
    pytest.importorskip("gradio", reason="needs the extra app")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    clip = draw_demo(tmp_path)
    asked = []
    with serving(tmp_path) as address, playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 390, "height": 900})
        view.on("request", lambda request: asked.append(request.url))
        view.goto(address)
        view.set_input_files("input[type=file]", str(clip))
        view.get_by_text("a01").first.wait_for()
        view.get_by_role("button", name="Answer").first.click()
        view.locator(".answer .bars").wait_for(timeout=120_000)
        view.wait_for_function("document.querySelector('video.film').readyState > 0")
        view.get_by_text("The model's card").click()
        view.get_by_role("heading", name="Licence").wait_for()
        for width in (390, 1400):
            view.set_viewport_size({"width": width, "height": 900})
            assert view.evaluate("document.documentElement.scrollWidth") <= width
        uploads = [path for path in tmp_path.glob("avemo-app-*/**/*") if path.is_file()]
        browser.close()
    assert not list(tmp_path.glob("avemo-app-*")), "and all the rest when the page ends"
    assert not uploads, "an upload is deleted with its answer"
    elsewhere = {urlsplit(url).netloc for url in asked if url.startswith("http")}
    assert elsewhere == {urlsplit(address).netloc}
