"""`audio_speech` on the actors of RAVDESS at hand by EmoBox's folds: figures of docs/corpora.md.

Run with `AVEMO_REALDATA=DIR python -m benchmarks.ravdess_speech`; `DIR/ravdess_audio` holds
`Actor_01`, `Actor_02`, ..., as published or as FLAC. It runs the pipeline up to `embed` in a fresh
clone with the preset of RAVDESS, then trains and scores fold by fold. It writes
`ravdess_speech.csv`, a row a fold, and `ravdess_confusion.csv`, a row a fold and emotion, beside
this file.

Layers, statistics, `embed.pause_db` and `audio.l2` were chosen on parts of the training actors of
folds 1 to 4; so with those folds each actor served as a validation actor of the others' folds.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path

from ruamel.yaml import YAML

from models.systems.evaluate import gather, run_folds
from models.systems.inputs import Store
from models.systems.params import Settings
from pipeline.clips import read_clips
from pipeline.files import write_table
from pipeline.params import load_section
from pipeline.scores.metrics import DECIMALS, confusion
from pipeline.splits import SplitParams, make_folds
from pipeline.work.entries import cache_folder
from stages.cli.presets import apply_preset

ROOT = Path(__file__).parents[1]
SYSTEM = "audio_speech"


def main() -> None:
    recordings = Path(os.environ["AVEMO_REALDATA"]).absolute() / "ravdess_audio"
    os.environ["AVEMO_CACHE"] = str(cache_folder(ROOT))
    with tempfile.TemporaryDirectory() as name, chdir(name):
        subprocess.run(["git", "clone", "--quiet", ROOT, "avemo"], check=True)
        os.chdir("avemo")
        _set_params(recordings)
        command = [sys.executable, "-m", "dvc", "repro", "--quiet", "embed"]
        subprocess.run(command, check=True)
        scores, mistakes = _folds()
    for file, rows in (("ravdess_speech", scores), ("ravdess_confusion", mistakes)):
        write_table(Path(__file__).with_name(f"{file}.csv"), list(rows[0]), rows)


def _set_params(recordings: Path) -> None:
    apply_preset("ravdess", recordings)
    yaml, params = YAML(), Path("params.yaml")
    values = yaml.load(params)
    values["system"], values["corpus"]["modalities"] = SYSTEM, "audio"
    values["embed"] |= {"networks": ["whisper_tiny_en"], "handcrafted": []}
    yaml.dump(values, params)


def _folds() -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Scores by fold, and of each emotion how often it was taken for which."""
    data, settings = Path("data"), Settings.read()
    store = Store(tuple(read_clips(data / "clips.csv")), data, Path("results/detector"))
    scores: list[dict[str, object]] = []
    mistakes: list[dict[str, object]] = []
    for fold in make_folds(store.records, load_section("split", SplitParams)):
        started = time.perf_counter()
        found = gather(run_folds(SYSTEM, store, [fold], settings), store)["audio"]
        seconds = time.perf_counter() - started
        counts = confusion(found)
        recall = counts.diagonal() / counts.sum(axis=1)
        accuracy = counts.trace() / counts.sum()
        scores.append(
            {
                "fold": fold.name,
                "train_clips": len(fold.train),
                "test_clips": len(fold.test),
                "wa": round(accuracy, DECIMALS),
                "ua": round(recall.mean(), DECIMALS),
                "seconds": round(seconds, 1),
            }
        )
        for emotion, row in zip(found.emotions, counts.astype(int).tolist(), strict=True):
            answers = dict(zip(found.emotions, row, strict=True))
            mistakes.append({"fold": fold.name, "emotion": emotion, **answers})
    return scores, mistakes


if __name__ == "__main__":
    main()
