"""No table is computed by a spreadsheet, nothing is lost, and no folder is half-written or left."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project_copy import ROOT

from pipeline import foreign
from pipeline.clips import ClipRecord, Reject, read_clips, write_clips, write_quarantine
from pipeline.errors import CorpusError
from pipeline.files import read_table, replace_folder, write_table

COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\n")
ATTACKS = [
    '=HYPERLINK("http://evil","x")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1",
    "\n=1", "'=1", "''-x", "-",
]  # fmt: skip
HARMLESS = ["", "a=b", "-3", "-0.50000", "+1e-3", "-inf", "'", "'tis", "''", "é", "a,b\n=c"]


def cells(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return [row[0] for row in csv.reader(stream)][1:]


def is_number(text):
    try:
        return float(text) is not None
    except ValueError:
        return False


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from([*ATTACKS, *HARMLESS])
        | st.text(st.sampled_from("'=+-@\t\r\n1a ,\""), max_size=5)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
    )
)
def test_any_text_comes_back_and_none_is_a_formula(tmp_path, texts):
    path = tmp_path / "a.csv"
    write_table(path, ("text", "n"), ({"text": text, "n": -3} for text in texts))
    assert read_table(path, lambda row: (row["text"], row["n"]), "") == [(t, "-3") for t in texts]
    assert not [text for text in cells(path) if text.startswith(COMPUTED) and not is_number(text)]


def test_what_is_no_formula_is_written_as_it_is(tmp_path):
    write_table(
        tmp_path / "a.csv", ["text"], ({"text": text} for text in [*HARMLESS[1:], -3, -0.5])
    )
    assert cells(tmp_path / "a.csv") == [*HARMLESS[1:], "-3", "-0.5"]


@pytest.mark.parametrize("text", ATTACKS)
def test_tables_of_clips_hold_no_formula_of_a_name_or_a_text(tmp_path, text):
    record = ClipRecord("a", "DC", text, text, 0, 0.0, 1, 0, 0, 1, 16_000)
    write_clips(tmp_path / "clips.csv", [record])
    assert read_clips(tmp_path / "clips.csv") == [record]
    write_quarantine(tmp_path / "quarantine.csv", [Reject("b", text, f"{text}: odd; remove it")])
    for path in tmp_path.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            found = [cell for row in csv.reader(stream) for cell in row]
        assert not [cell for cell in found if cell.startswith(COMPUTED) and not is_number(cell)]


def test_a_draft_of_ours_that_a_person_completes_names_its_files(tmp_path):
    write_table(tmp_path / "a.csv", ["audio"], [{"audio": "=1+1.wav"}, {"audio": "'=.wav"}])
    rows = foreign.read_table(tmp_path / "a.csv").rows.values()
    assert [row["audio"] for row in rows] == ["=1+1.wav", "'=.wav"]


def test_what_a_killed_process_left_of_a_folder_goes_and_what_others_write_stays(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.files import replace_folder\n"
        "with replace_folder(Path(sys.argv[1])) as part:\n"
        "    (part / 'large').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    out, other = tmp_path / "frames", tmp_path / "frames-of-another"
    subprocess.run([sys.executable, "-c", code, out], cwd=ROOT, check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "large").is_file()
    with replace_folder(other) as part:
        with replace_folder(out) as own:
            (own / "small").touch()
        assert part.is_dir() and not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {out.name, other.name}
    assert [path.name for path in out.iterdir()] == ["small"]


def test_what_is_no_products_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "repository/.git").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repository")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    for name in (".", "..", "repository", "link", "file"):
        with pytest.raises(CorpusError, match=r"would be replaced"), replace_folder(Path(name)):
            pass
    assert sorted(tmp_path.rglob("*")) == before
