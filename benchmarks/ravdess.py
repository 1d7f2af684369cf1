"""A system that only listens, on the actors of RAVDESS at hand by EmoBox's folds.

Run with `AVEMO_REALDATA=DIR python -m benchmarks.ravdess SYSTEM`, e.g. `audio_speech`;
`DIR/ravdess_audio` holds `Actor_01`, `Actor_02`, ..., as published or as FLAC. It runs the pipeline
up to `embed` in a fresh clone with the preset `ravdess_speech`, then trains and scores fold by
fold; nothing is calibrated, which changes no accuracy. It writes `ravdess_<SYSTEM>.csv`, a row a
fold, and `ravdess_<SYSTEM>_confusion.csv`, a row a fold and emotion, beside this file.

For `audio_speech` layers, statistics, `embed.pause_db` and `audio.l2` were chosen on parts of the
training actors of folds 1 to 4; so with those folds each actor served as a validation actor of the
others' folds. For `audio_compact` width, excerpt, augmentation, smoothing, weight decay and
the share of a clip's own norm were chosen by answering fold 3 after training on folds 1 and 2, and
fold 1 after 3 and 4.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import chdir
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from ruamel.yaml import YAML

from models.systems.evaluate import gather, run_folds
from models.systems.inputs import Store
from models.systems.params import Settings
from pipeline.clips import read_clips
from pipeline.files import write_table
from pipeline.params import PARAMS_FILE, load_section
from pipeline.scores.metrics import DECIMALS, confusion
from pipeline.splits import Fold, SplitParams, make_folds
from pipeline.work.entries import cache_folder
from stages.cli.presets import apply_preset

ROOT = Path(__file__).parents[1]


def main(system: str) -> None:
    recordings = Path(os.environ["AVEMO_REALDATA"]).absolute() / "ravdess_audio"
    os.environ["AVEMO_CACHE"] = str(cache_folder(ROOT))
    with tempfile.TemporaryDirectory() as name, chdir(name):
        subprocess.run(["git", "clone", "--quiet", ROOT, "avemo"], check=True)
        os.chdir("avemo")
        _set_params(system, recordings)
        command = [sys.executable, "-m", "dvc", "repro", "--quiet", "embed"]
        subprocess.run(command, check=True)
        scores, mistakes = _folds(system)
    for kind, rows in (("", scores), ("_confusion", mistakes)):
        path = Path(__file__).with_name(f"ravdess_{system}{kind}.csv")
        write_table(path, list(rows[0]), rows)


def _set_params(system: str, recordings: Path) -> None:
    apply_preset("ravdess_speech", recordings)
    yaml = YAML()
    values = yaml.load(PARAMS_FILE)
    values["system"], values["inner_folds"]["count"] = system, 0
    values["training"]["threads"] = 1  # folds are trained side by side
    yaml.dump(values, PARAMS_FILE)


def _folds(system: str) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Scores by fold, and of each emotion how often it was taken for which; a core a fold."""
    names = [fold.name for fold in _inputs()[1]]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        found = list(pool.map(partial(_fold, system), names))
    return [score for score, _ in found], [row for _, mistakes in found for row in mistakes]


def _inputs() -> tuple[Store, list[Fold], Settings]:
    data = Path("data")
    store = Store(tuple(read_clips(data / "clips.csv")), data, Path("results/detector"))
    return store, make_folds(store.records, load_section("split", SplitParams)), Settings.read()


def _fold(system: str, name: str) -> tuple[dict[str, object], list[dict[str, object]]]:
    store, folds, settings = _inputs()
    fold = next(fold for fold in folds if fold.name == name)
    started = time.process_time()
    found = gather(run_folds(system, store, [fold], settings), store)["audio"]
    seconds = time.process_time() - started
    counts = confusion(found)
    recall = counts.diagonal() / counts.sum(axis=1)
    score: dict[str, object] = {
        "fold": name,
        "train_clips": len(fold.train),
        "test_clips": len(fold.test),
        "wa": round(counts.trace() / counts.sum(), DECIMALS),
        "ua": round(recall.mean(), DECIMALS),
        "core_s": round(seconds, 1),
    }
    mistakes: list[dict[str, object]] = []
    for emotion, row in zip(found.emotions, counts.astype(int).tolist(), strict=True):
        answers = dict(zip(found.emotions, row, strict=True))
        mistakes.append({"fold": name, "emotion": emotion, **answers})
    return score, mistakes


if __name__ == "__main__":
    main(*sys.argv[1:])
