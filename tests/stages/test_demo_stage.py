import pytest

from pipeline.errors import ParamsError
from stages import demo

PARAMS = """
corpus: {{name: {name}, root: data/demo, modalities: auto, require: any, emotions: auto,
         label_source: acted}}
demo: {{speakers: 1, takes: 1, fps: 25, width_px: 320, height_px: 256, min_s: 0.5, max_s: 0.6,
       rate_hz: 48000, ambiguity: {ambiguity}, seed: 0}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write_params(folder, name="demo", ambiguity="0.5"):
    text = PARAMS.format(name=name, ambiguity=ambiguity)
    (folder / "params.yaml").write_text(text, encoding="utf-8")


def test_the_stage_makes_sound_video_and_truth(folder, capsys):
    write_params(folder)
    demo.main(folder / "data" / "demo")
    names = {path.relative_to(folder / "data/demo").as_posix() for path in _files(folder)}
    assert len(names) == 21
    assert {"AudioData/DC/sa01.wav", "AudioVisualClip/DC/sa01.avi", "truth/DC_sa01.csv"} <= names
    assert "7 clips" in capsys.readouterr().out


def test_another_corpus_costs_nothing_but_a_note(folder, capsys):
    write_params(folder, name="savee")
    (folder / "data/demo/AudioData").mkdir(parents=True)
    demo.main(folder / "data" / "demo")
    assert [path.name for path in _files(folder)] == ["README.txt"]
    assert "corpus.name: savee" in (folder / "data/demo/README.txt").read_text()
    assert "not needed for savee" in capsys.readouterr().out


def test_ambiguity_out_of_range_is_named(folder):
    write_params(folder, ambiguity="1.5")
    with pytest.raises(ParamsError, match=r"demo\.ambiguity: got 1\.5"):
        demo.main(folder / "data" / "demo")


def _files(folder):
    return sorted(path for path in (folder / "data/demo").rglob("*") if path.is_file())
