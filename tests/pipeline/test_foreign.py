"""Tables as spreadsheets and people write them."""

import logging

import pytest

from pipeline.errors import CorpusError
from pipeline.foreign import is_lfs_pointer, printable, read_table, same_spelling

PLAIN = "video,speaker\na.mp4,Zo\u00eb\n"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def write(tmp_path, content):
    path = tmp_path / "clips.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.encode("cp1252"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"),
        PLAIN.replace("video,speaker", "Video, SPEAKER ").replace(",", ", "),
        PLAIN.replace("\n", ",,\n"),
        PLAIN.replace("a.mp4", '"a.mp4"').rstrip(),
    ],
)
def test_every_way_to_write_a_table_gives_the_same(tmp_path, content):
    table = read_table(write(tmp_path, content))
    assert table.columns == ("video", "speaker")
    assert list(table.rows.values()) == [{"video": "a.mp4", "speaker": "Zo\u00eb"}]


def test_rows_keep_their_lines_and_empty_ones_are_left_out(tmp_path):
    table = read_table(write(tmp_path, 'a,b\n\n , \n"1, one"\n'))
    assert table.rows == {4: {"a": "1, one", "b": ""}}


def test_a_warning_says_once_what_the_table_was_taken_for(tmp_path, caplog):
    path = write(tmp_path, PLAIN.encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        read_table(path), read_table(path)
    assert [record.getMessage().split("; ")[0] for record in caplog.records] == [
        f"{path}: not UTF-8, read as cp1252"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n\x81,1\n", "neither UTF-8, UTF-16 with a mark nor cp1252"),
        (PLAIN.encode("utf-16-le"), "neither UTF-8, UTF-16 with a mark nor cp1252"),
        ("a,b,a\n", "column 'a' stands there twice"),
        ("a,b\n1,2\n1,2,3\n", r"line 3: got 3 entries, expected 2 as in the first line"),
        (POINTER, "got a Git LFS pointer, expected the table"),
    ],
)
def test_what_is_no_table_is_one_clear_line(tmp_path, content, said):
    path = write(tmp_path, content)
    with pytest.raises(CorpusError, match=said) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and ";" in str(caught.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(CorpusError, match="no such file"):
        read_table(tmp_path / "clips.csv")


def test_names_have_one_spelling_and_can_be_printed(tmp_path):
    assert same_spelling("e\u0301") == same_spelling("\u00e9")
    assert printable("Zo\udceb") == "Zo\\udceb"
    assert is_lfs_pointer(write(tmp_path, POINTER)) and not is_lfs_pointer(write(tmp_path, "a"))
