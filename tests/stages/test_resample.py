import numpy as np
import pytest
import soundfile

from pipeline.clips import ClipRecord, write_clips
from pipeline.errors import CorpusError
from stages.resample import main


def record(clip_id, samples, rate_hz):
    return ClipRecord(clip_id, "DC", "anger", "", 0, 0.0, 1, 0, 0, samples, rate_hz)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    (tmp_path / "params.yaml").write_text("resample: {method: soxr, quality: high}\n")
    (tmp_path / "audio").mkdir()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, 2))
    soundfile.write(tmp_path / "audio/mono.wav", noise[:, 0], 48_000)
    soundfile.write(tmp_path / "audio/stereo.wav", noise, 44_100)
    records = [record("mono", 48_000, 48_000), record("stereo", 48_000, 44_100)]
    write_clips(tmp_path / "clips.csv", [*records, record("silent_film", 0, 0)])
    return tmp_path


def resample(data):
    main(data / "audio", data / "clips.csv", data / "out")
    return {path.name: path.read_bytes() for path in (data / "out").iterdir()}


def test_any_rate_becomes_32khz_mono_float(data, capsys):
    first = resample(data)
    for name, samples in (("mono.wav", 32_000), ("stereo.wav", 34_830)):
        info = soundfile.info(data / "out" / name)
        assert (info.samplerate, info.channels, info.subtype) == (32_000, 1, "FLOAT")
        assert info.frames == samples
    assert resample(data) == first
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("resample: 2 clips, 0.0 min, 0 from cache")
    assert "2 from cache" in lines[1]


def test_sound_that_does_not_join_the_table_is_an_error(data):
    (data / "audio/mono.wav").rename(data / "audio/other.wav")
    with pytest.raises(CorpusError, match=r"2 clips do not join with .* the first is mono"):
        resample(data)
