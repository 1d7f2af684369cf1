import av
import pytest

from pipeline.corpora.corpus import index_corpus
from pipeline.corpora.index import SOUND_SUFFIXES, VIDEO_SUFFIXES, clean_id
from pipeline.corpora.params import CorpusParams
from pipeline.errors import CorpusError, ParamsError
from pipeline.params import validate


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def index(name, root, emotions="auto"):
    fixed = {"modalities": "auto", "require": "any", "label_source": "acted"}
    return index_corpus(CorpusParams(name=name, root=root, emotions=emotions, **fixed))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("DC_a01", "DC_a01"), ("my clip", "my-clip"), ("Zoë.1", "Zoe-1"), ("a/b", "a-b")],
)
def test_clean_id_keeps_what_it_can(name, expected):
    assert clean_id(name) == expected


def test_clean_id_keeps_names_of_other_scripts_apart():
    ids = {clean_id(name) for name in ("東京", "京都", "_東京", "?", "!")}
    assert len(ids) == 5
    assert all(i.isascii() and i.replace("-", "").replace("_", "").isalnum() for i in ids)
    assert clean_id("e\u0301") == clean_id("\u00e9") == "e"  # same name, two spellings


def test_two_files_for_one_id_are_refused_and_the_others_stay(tmp_path):
    touch(
        tmp_path, "AudioVisualClip/DC/a1.avi", "AudioVisualClip/DC/a01.avi", "AudioData/DC/d1.wav"
    )
    found = index("savee", tmp_path)
    assert [clip.clip_id for clip in found.clips] == ["DC_d01"]
    (reject,) = found.rejects
    assert reject.clip_id == "DC_a01"
    assert "DC/a01.avi and" in reject.reason and "DC/a1.avi: two files for" in reject.reason


def test_ids_that_collide_after_cleaning_are_refused(tmp_path):
    touch(tmp_path, "anna/fear/a b.mp4", "anna/fear/a-b.wav", "anna/fear/c.wav", "an na/fear/c.wav")
    touch(tmp_path, "an-na/fear/c.wav")
    found = index("folder", tmp_path)
    # picture and sound of the same cleaned stem join; two speakers' sounds do not
    assert [clip.clip_id for clip in found.clips] == ["anna_fear_a-b", "anna_fear_c"]
    assert [reject.clip_id for reject in found.rejects] == ["an-na_fear_c"]


@pytest.mark.parametrize("name", ["savee", "ravdess", "cremad", "folder", "demo"])
def test_unknown_names_are_rejected_and_papers_are_not(name, tmp_path):
    touch(tmp_path, "Readme.md", "LICENSE.txt", ".DS_Store", "hello world.wav", "._a01.wav")
    found = index(name, tmp_path)
    assert not found.clips
    (reject,) = found.rejects
    assert "hello world.wav" in reject.reason and "\n" not in reject.reason


def test_wrong_extension_is_rejected_unless_it_lies_beside_the_recording(tmp_path):
    touch(tmp_path, "DC_a01.txt", "DC_a02.txt", "DC_a02.wav")
    found = index("savee", tmp_path)
    assert [clip.clip_id for clip in found.clips] == ["DC_a02"]
    (reject,) = found.rejects
    assert reject.clip_id == "DC_a01" and "got the extension .txt" in reject.reason


def test_emotions_keep_the_order_of_the_corpus_or_of_the_user(tmp_path, caplog):
    touch(tmp_path, *(f"{name}/{take}.wav" for name in ("joy", "bored", "calm") for take in "12"))
    with pytest.raises(CorpusError, match=r"bored \(2 clips\), joy \(2 clips\) below") as error:
        index("folder", tmp_path)
    names = str(error.value).partition("[")[2].partition("]")[0].split(", ")
    assert sorted(names) == ["bored", "calm", "joy"]
    assert len(index("folder", tmp_path, names).clips) == 6, "the remedy is one"
    found = index("folder", tmp_path, ["joy", "bored"])
    assert {clip.emotion: clip.rank for clip in found.clips} == {"joy": 0, "bored": 1}
    assert "leaves out calm (2 clips)" in caplog.text
    with pytest.raises(CorpusError, match=r"no clip shows boerd; found bored \(2 clips\), calm"):
        index("folder", tmp_path, ["joy", "boerd"])


def test_emotions_of_a_known_corpus_may_be_fewer_and_in_another_order(tmp_path):
    touch(tmp_path, "DC_a01.wav", "DC_h01.wav", "DC_n01.wav")
    found = index("savee", tmp_path, ["happiness", "anger"])
    assert [(c.emotion, c.rank) for c in found.clips] == [("anger", 1), ("happiness", 0)]


@pytest.mark.parametrize("emotions", ["joy", ["joy"], ["joy", " Joy"], ["joy", ""], ["joy", 1]])
def test_emotions_are_a_word_or_names(tmp_path, emotions):
    content = {"name": "folder", "root": "x", "modalities": "auto", "require": "any"}
    content |= {"emotions": emotions, "label_source": "acted"}
    with pytest.raises(ParamsError, match="expected auto, or a list of two names or more"):
        validate("corpus", content, CorpusParams, tmp_path / "params.yaml")
    content["emotions"] = [" joy ", "bored"]
    section = validate("corpus", content, CorpusParams, tmp_path / "params.yaml")
    assert section.emotions == ("joy", "bored")


def test_only_cremad_has_raters(tmp_path):
    content = {"name": "savee", "root": "x", "modalities": "auto", "require": "any"}
    content |= {"emotions": "auto", "label_source": "crowd"}
    with pytest.raises(ParamsError, match=r"corpus: .*got crowd, but savee has no raters"):
        validate("corpus", content, CorpusParams, tmp_path / "params.yaml")


def test_each_refused_recording_has_a_name_of_its_own(tmp_path):
    touch(tmp_path, "Actor_01/1.wav", "Actor_02/1.wav", "Actor_02/1.mp4", "01/1.wav")
    names = {reject.clip_id for reject in index("ravdess", tmp_path).rejects}
    assert names == {"Actor_01_1", "Actor_02_1", "01_1"}


def test_suffixes_are_ones_that_ffmpeg_decodes():
    # other names of those it lists
    known = set(".weba .snd .divx .qt .vob .rmvb .ra .spx .voc .dts .m2t .mod .tod .ogm".split())
    for name in av.formats_available:
        for mode in ("r", "w"):
            try:
                known |= {f".{end}" for end in av.format.ContainerFormat(name, mode).extensions}
            except ValueError:  # it reads or writes this format only
                continue
    assert not (SOUND_SUFFIXES | VIDEO_SUFFIXES) - known
    assert not SOUND_SUFFIXES & VIDEO_SUFFIXES


def test_a_tilde_is_refused_before_dvc_looks_for_a_folder_of_that_name(tmp_path):
    content = {
        "name": "savee",
        "root": "~/SAVEE",
        "modalities": "auto",
        "require": "any",
        "emotions": "auto",
    }
    with pytest.raises(ParamsError, match=r"corpus\.root: got '~/SAVEE'.* write the whole path"):
        validate("corpus", content, CorpusParams, tmp_path / "params.yaml")


def test_missing_or_empty_root_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match="no such folder"):
        index("savee", tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="no recording found"):
        index("ravdess", tmp_path)
