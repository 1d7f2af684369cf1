import hashlib
import http.server
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pooch
import pytest

from models.audio.download import CHUNK, Remote, download, verify
from pipeline.errors import WeightsError
from pipeline.files import file_digest

CONTENT = bytes(range(256)) * 20_000  # 5 MB


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; breaks the first transfer off half-way; honours Range if told to."""

    def do_GET(self):
        self.server.requests.append(self.headers.get("Range"))
        start = 0
        if self.server.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if self.path != "/weights.pth":
            self.send_error(404)
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        interrupted = len(self.server.requests) <= self.server.failures
        stop = len(CONTENT) // 2 if interrupted else len(CONTENT)
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests, running.failures, running.ranges = [], 0, True
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def remote(server, path="weights.pth", **known):
    known.setdefault("md5", hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())
    return Remote(f"http://127.0.0.1:{server.server_port}/{path}", "weights.pth", **known)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_download_writes_the_file_and_nothing_else(server, tmp_path):
    path = download(remote(server, size=len(CONTENT)), tmp_path / "a b" / "é")
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["weights.pth"]


def test_interrupted_download_goes_on_where_it_stopped(server, tmp_path):
    server.failures = 1
    path = download(remote(server), tmp_path, pause_s=0)
    assert path.read_bytes() == CONTENT
    whole_chunks = len(CONTENT) // 2 // CHUNK * CHUNK
    assert server.requests == [None, f"bytes={whole_chunks}-"]


def test_part_of_an_earlier_run_is_resumed(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    download(remote(server), tmp_path)
    assert server.requests == ["bytes=1000-"]


def test_server_without_ranges_starts_over(server, tmp_path):
    server.failures, server.ranges = 1, False
    assert download(remote(server), tmp_path, pause_s=0).read_bytes() == CONTENT


def test_complete_part_is_taken(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert download(remote(server), tmp_path).read_bytes() == CONTENT


def test_second_call_asks_nothing(server, tmp_path):
    for _ in range(2):
        download(remote(server), tmp_path)
    assert len(server.requests) == 1


def test_three_at_once_fetch_once(server, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: download(remote(server), tmp_path), range(3)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.requests) == 1


@pytest.mark.parametrize("known", [{"md5": "0" * 32}, {"sha256": "0" * 64}, {"size": 7_000_000}])
def test_foreign_content_is_refused_and_removed(server, tmp_path, known):
    with pytest.raises(WeightsError, match=r"expected (0{32}|7000000).*fetch http"):
        download(remote(server, **known), tmp_path)
    assert names(tmp_path) == [".weights.pth.lock"]


def test_missing_file_names_address_and_place_at_once(server, tmp_path):
    with pytest.raises(WeightsError, match=r"weights\.pth: cannot be fetched .*404.*put it at"):
        download(remote(server, path="elsewhere"), tmp_path)
    assert len(server.requests) == 1


def test_offline_names_address_and_place(tmp_path):
    gone = Remote("http://127.0.0.1:9/weights.pth", "weights.pth", "0" * 32)
    with pytest.raises(WeightsError) as caught:
        download(gone, tmp_path)
    for part in ("weights.pth", gone.url, str(tmp_path / "weights.pth"), "untrained"):
        assert part in str(caught.value)


def test_verify_checks_every_known_fact(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    right = Remote("", "file", pooch.file_hash(path, "md5"), 3, file_digest(path))
    verify(path, right)
    for name, wrong in {"md5": "0" * 32, "size": 4, "sha256": "0" * 64}.items():
        with pytest.raises(WeightsError, match=f"expected {wrong}"):
            verify(path, replace(right, **{name: wrong}))
