"""Stage `fuse`: train and score the system on every fold of the protocol.

Reads embeddings, face features, speech activity, frames and `data/clips.csv`; writes
`results/fusion`, `results/predictions.csv`, `results/history.csv`, `results/metrics.json` and the
tables of the plots. Params: `system`, `split`, `audio`, `visual`, `fusion`, `loss`, `calibrate`,
`predict`, `baselines`.
"""

import json
import time
from pathlib import Path

from models.audio import AudioParams
from models.baselines.params import BaselineParams
from models.data import Store
from models.experiment import before_pooling, gather, mean_pool, run_folds, save_networks
from models.fusion import FusionParams, LossParams
from models.systems import Settings
from models.visual import VisualParams
from pipeline.calibration import PredictParams
from pipeline.clips import read_clips
from pipeline.inner_folds import CalibrateParams
from pipeline.metrics import summarise, summarise_plainly
from pipeline.params import load_section, load_system
from pipeline.predictions import headline, write_predictions
from pipeline.progress import closing
from pipeline.results import write_history, write_json, write_plots
from pipeline.splits import SplitParams, make_folds
from stages.entry import run


def main(data: Path, results: Path) -> None:
    """Train and score the system on every fold of the protocol."""
    started = time.monotonic()
    system = load_system()
    store = Store(tuple(read_clips(data / "clips.csv")), data, results / "detector")
    folds = make_folds(store.records, load_section("split", SplitParams))
    settings = Settings(
        load_section("audio", AudioParams),
        load_section("visual", VisualParams),
        load_section("fusion", FusionParams),
        load_section("loss", LossParams),
        load_section("baselines", BaselineParams),
        load_section("calibrate", CalibrateParams),
    )
    predict = load_section("predict", PredictParams)
    outcomes = run_folds(system, store, folds, settings)
    branches = gather(outcomes, store)
    history = [row for outcome in outcomes for row in outcome.history]
    save_networks(results / "fusion", system, store, outcomes)
    write_predictions(results / "predictions.csv", branches)
    write_history(results / "history.csv", history)
    write_plots(results / "plots", branches, history)
    detector = json.loads((results / "detector" / "metrics.json").read_text(encoding="utf-8"))
    metrics = summarise(branches, predict.abstain_below)
    metrics |= {
        "before_pooling": summarise_plainly(gather(before_pooling(outcomes), store)),
        "pool": mean_pool(outcomes),
        "detector": detector,
    }
    write_json(results / "metrics.json", metrics)
    scores = ", ".join(
        f"{branch} {float((p.correct).mean()):.3f}" for branch, p in branches.items()
    )
    main_branch = branches[headline(branches)]
    closing(
        "fuse", f"{system}, {len(folds)} folds, {len(main_branch)} test clips, {scores}", started
    )


if __name__ == "__main__":
    run(main)
