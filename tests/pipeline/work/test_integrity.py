"""A byte that changes behind DVC's back, with size and time as they were."""

import os
import subprocess
import sys

import pytest

from pipeline.errors import DamageError
from pipeline.files import write_checksums
from pipeline.work.integrity import damage, products, require_frames, require_intact

PIPELINE = """\
stages:
  write:
    cmd: %(python)s write.py
    outs: [data/clips.csv, data/parts]
  read:
    cmd: %(python)s -c ""
    deps: [data/parts, "${corpus.root}"]
"""
WRITE = """\
from pathlib import Path
parts = Path("data/parts")
(parts / "a b").mkdir(parents=True)
for name in ("a.bin", "a b/c.bin", "a-b.bin", "\u00e4.bin"):
    (parts / name).write_bytes(name.encode() * 9)
Path("data/clips.csv").write_text("clip_id\\n")
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "dvc.yaml").write_text(PIPELINE % {"python": sys.executable})
    (folder / "params.yaml").write_text("corpus: {root: data/clips.csv}\n")
    (folder / "write.py").write_text(WRITE, encoding="utf-8")
    for command in ("init --no-scm -q", "repro -q write"):
        run = [sys.executable, "-m", "dvc", *command.split()]
        subprocess.run(run, cwd=folder, check=True)
    return folder


@pytest.fixture
def project(written, monkeypatch):
    monkeypatch.chdir(written)
    return written


def flip(path):
    """Change the first byte; size and time of change stay."""
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_dvc_has_just_written_is_whole(project):
    assert {str(one.path) for one in products()} == {"data/clips.csv", "data/parts"}
    assert list(damage(products())) == []
    require_intact("read")
    require_intact("write")


@pytest.mark.parametrize("name", ["data/parts/a b/c.bin", "data/parts/ä.bin", "data/clips.csv"])
def test_a_flipped_byte_is_named_with_the_stage_that_repairs_it(project, name):
    path = project / name
    flip(path)
    with pytest.raises(DamageError) as caught:
        require_intact("read")
    assert "dvc repro write" in str(caught.value)
    assert path.relative_to(project / "data").parts[0] in str(caught.value)
    assert name.startswith("data/clips") or name.removeprefix("data/parts/") in str(caught.value)
    flip(path)
    require_intact("read")


def test_a_file_too_many_or_too_few_is_damage_and_no_folder_at_all_is_not(project):
    extra, file = project / "data/parts/extra", project / "data/parts/a.bin"
    extra.write_text("")
    assert "(extra)" in str(next(damage(products())))
    extra.unlink()
    content = file.read_bytes()
    file.unlink()
    assert "(a.bin)" in str(next(damage(products())))
    file.write_bytes(content)
    (project / "data/parts").rename(project / "data/elsewhere")
    assert list(damage(products())) == []  # for DVC to bring back
    (project / "data/elsewhere").rename(project / "data/parts")


def test_the_list_of_checksums_is_held_against_every_frame_and_annotation(tmp_path):
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / f"{number}.{suffix}").write_text(f"{folder} {number}")
    folders = (tmp_path / "JPEGImages", tmp_path / "Annotations")
    write_checksums(tmp_path / "SHA256SUMS", folders)
    require_frames(tmp_path)
    for path in (folders[0] / "1.jpg", folders[1] / "2.xml"):
        flip(path)
        with pytest.raises(DamageError, match=path.name):
            require_frames(tmp_path)
        flip(path)
    (folders[0] / "0.jpg").unlink()
    with pytest.raises(DamageError, match=r"0\.jpg"):
        require_frames(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(DamageError, match="not a list of checksums"):
        require_frames(tmp_path)
