"""`audio_compact` on the sound of RAVDESS: how often it is right about actors that it never heard.

Corpus, folds and network are those of the preset `ravdess`, on one thread; nothing is calibrated,
which changes no accuracy. `AVEMO_REALDATA=DIR python -m benchmarks.ravdess_compact` takes the
actors that there are below `DIR/ravdess_audio` and writes `ravdess_compact.csv` beside this file,
anew after each fold.
"""

import os
import shutil
import time
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML

from models.systems.evaluate import evaluate_fold, gather
from models.systems.inputs import Store
from models.systems.params import Settings
from pipeline.clips import read_clips
from pipeline.files import write_table
from pipeline.params import PARAMS_FILE, load_section
from pipeline.presets import PRESETS
from pipeline.scores.metrics import DECIMALS, SCORES, score_interval
from pipeline.splits import SplitParams, make_folds
from pipeline.work.entries import cache_folder
from stages import extract, resample
from stages.cli.presets import apply_preset

ROOT = Path(__file__).parents[1]
SYSTEM = "audio_compact"


def main() -> None:
    recordings = Path(os.environ["AVEMO_REALDATA"]).resolve() / "ravdess_audio"
    os.environ["AVEMO_CACHE"] = str(cache_folder(ROOT))
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as name, chdir(name):
        store = _store(recordings)
        settings = Settings.read()
        for fold in make_folds(store.records, load_section("split", SplitParams)):
            started = time.monotonic()
            outcome = evaluate_fold(SYSTEM, store, fold, (), settings)
            minutes = (time.monotonic() - started) / 60
            tested = gather([outcome], store)["audio"]
            scores = {n: score_interval(tested, SCORES[n]).value for n in ("accuracy", "uar")}
            shares = {name: round(value, DECIMALS) for name, value in scores.items()}
            counts = {"training_clips": len(fold.train), "test_clips": len(fold.test)}
            rows.append({"fold": fold.name, **counts, **shares, "minutes": round(minutes, 1)})
            write_table(Path(__file__).with_suffix(".csv"), list(rows[0]), rows)


def _store(recordings: Path) -> Store:
    """Products of the stages up to `resample`, in the working folder."""
    data = Path("data")
    shutil.copytree(ROOT / PRESETS, PRESETS)
    shutil.copy(ROOT / PARAMS_FILE, PARAMS_FILE)
    apply_preset("ravdess", recordings)
    yaml = YAML()
    params = yaml.load(PARAMS_FILE)
    params["system"], params["corpus"]["modalities"] = SYSTEM, "audio"
    params["inner_folds"]["count"], params["training"]["threads"] = 0, 1
    yaml.dump(params, PARAMS_FILE)
    frames, truth = data / "voc" / "JPEGImages", data / "truth"
    extract.main(data / "clips.csv", data / "quarantine.csv", frames, data / "audio", truth)
    resample.main(data / "audio", data / "clips.csv", data / "audio32k")
    return Store(tuple(read_clips(data / "clips.csv")), data, Path("results/detector"))


if __name__ == "__main__":
    main()
