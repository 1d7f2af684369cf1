import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from project_copy import ROOT, set_params
from safetensors.torch import save_file
from typer.testing import CliRunner

from pipeline.clips import ClipRecord, write_clips
from pipeline.errors import CorpusError, ParamsError
from pipeline.work.executors import executors_from
from stages.cli.app import app
from stages.cli.tables import tables

AUDIO = "audio_wavegram_logmel"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with products of eight clips that have sound alone."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    set_params(
        tmp_path,
        {
            "split": {"test_per_emotion": 1},
            "audio": {"epochs": 1},
            "fusion": {"epochs": 1},
            "inner_folds": {"count": 0},
        },
    )
    records = [
        ClipRecord(f"c{i}", f"S{i % 2}", ("anger", "happiness")[i // 2 % 2], "", 0, 0.0, 1, 0, 0,
                   32_000, 32_000)
        for i in range(8)
    ]  # fmt: skip
    (tmp_path / "data" / "embeddings").mkdir(parents=True)
    write_clips(tmp_path / "data" / "clips.csv", records)
    for number, record in enumerate(records):
        draw = torch.Generator().manual_seed(number)
        keys = ("Wavegram_Logmel_Cnn14", "mfcc", "log_mfcc")
        tensors = {key: torch.randn(6, generator=draw) for key in keys}
        save_file(tensors, tmp_path / "data" / "embeddings" / f"{record.clip_id}.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    threads = torch.get_num_threads()
    with executors_from(ThreadPoolExecutor):
        yield tmp_path
    torch.set_num_threads(threads)


def avemo(*arguments):
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_products_of_other_settings_are_refused(project):
    lock = {"stages": {"extract": {"params": {"params.yaml": {"corpus": {"name": "savee"}}}}}}
    (project / "dvc.lock").write_text(json.dumps(lock))
    with pytest.raises(CorpusError, match="`extract` last ran with another section `corpus`"):
        tables([AUDIO], [], 1)


def test_without_a_lock_the_check_is_said_to_be_missing(project, caplog):
    with pytest.raises(CorpusError, match="needs video"):
        tables(["visual_cnn"], [], 1)
    assert "dvc.lock: no such file: nothing tells whether data/" in caplog.text


def test_tables_and_ablations_fill_one_page(project):
    said = avemo("tables", "--systems", f"{AUDIO}, av_cnn", "--protocols", "paper,loso")
    assert said.startswith("tables: 4 rows, 3 seeds, file://")
    text = Path("results/tables.md").read_text()
    assert "## Protocol loso" in text and "av_cnn is absent: system av_cnn needs video" in text
    said = avemo("ablations", "--seeds", "1")
    assert said.startswith("ablations: ")
    said = avemo("ablations", "--seeds", "1", "--studies", "sound,head")
    assert said.startswith("ablations: 8 rows, 1 seed")
    page = Path("results/tables.html").read_text()
    assert "both + hand-crafted" in page and "audio_wavegram" in page
    assert not Path("results/detector").exists()


def test_misspelt_names_and_missing_products_are_one_line(project):
    with pytest.raises(ParamsError, match="system: got 'audio_cmn', expected one of audio_cnn"):
        avemo("tables", "--systems", "audio_cmn")
    with pytest.raises(ParamsError, match="protocol: got 'papr', expected one of paper"):
        avemo("ablations", "--protocol", "papr")
    with pytest.raises(ParamsError, match="study: got 'heads', expected one of boxes, sound"):
        avemo("ablations", "--studies", "heads")
    with pytest.raises(CorpusError, match="needs video"):
        avemo("tables", "--systems", "visual_cnn")
    (project / "data" / "clips.csv").unlink()
    with pytest.raises(CorpusError, match=r"clips\.csv: missing; run `dvc repro` first"):
        avemo("tables")
