import numpy as np
import pytest
import soundfile

from models.checkpoint import load_safetensors
from pipeline.clips import ClipRecord, write_clips
from stages.embed import main

PARAMS = (
    "embed: {networks: [], weights: untrained, layers: [1], statistics: [mean], pause_db: 30,"
    " noisy_copies: 0,"
    " handcrafted: [mfcc, log_mfcc], seed: 0}\n"
)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio/a.wav", np.zeros(8_000, np.float32), 32_000, subtype="FLOAT")
    clip = ("s", "anger", "", 0, 0.0, 1, 0, 0)
    records = [ClipRecord("a", *clip, 8_000, 32_000), ClipRecord("mute", *clip, 0, 0)]
    write_clips(tmp_path / "clips.csv", records)
    return tmp_path


def test_stage_embeds_once_and_reports(corpus, capsys):
    out = corpus / "data" / "embeddings"
    for cached in (0, 2):
        main(corpus / "audio", corpus / "clips.csv", out)
        assert f"embed: 1 clip x 2 embeddings, {cached} from cache, " in capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == ["a.safetensors"]
    assert load_safetensors(out / "a.safetensors")[0].keys() == {"mfcc", "log_mfcc"}
