"""Stage `fuse`: train and score the system on every fold of the protocol.

Reads embeddings, face features, speech activity, frames and `data/clips.csv`; writes
`results/fusion`, `results/predictions.csv`, `results/history.csv`, `results/metrics.json` and the
tables of the plots. Params: `system`, `split`, `audio`, `visual`, `fusion`, `loss`, `inner_folds`,
`predict`, `baselines`.
"""

import json
import time
from pathlib import Path

from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines.params import BaselineParams
from models.systems.evaluate import before_pooling, gather, mean_pool, run_folds, save_networks
from models.systems.inputs import Store
from models.systems.params import Settings, TrainingParams
from pipeline.clips import read_clips
from pipeline.files import write_json
from pipeline.params import load_section
from pipeline.scores.calibration import PredictParams
from pipeline.scores.metrics import summarise, summarise_plainly
from pipeline.scores.predictions import headline, write_predictions
from pipeline.scores.results import write_history, write_plots
from pipeline.splits import InnerFoldParams, SplitParams, make_folds
from pipeline.systems import load_system
from pipeline.work.progress import closing
from stages.cli.boundary import run


def main(data: Path, results: Path) -> None:
    """Train and score the system on every fold of the protocol."""
    started = time.monotonic()
    system = load_system()
    store = Store(tuple(read_clips(data / "clips.csv")), data, results / "detector")
    folds = make_folds(store.records, load_section("split", SplitParams))
    settings = Settings(
        load_section("training", TrainingParams),
        load_section("audio", AudioParams),
        load_section("visual", VisualParams),
        load_section("fusion", FusionParams),
        load_section("loss", LossParams),
        load_section("baselines", BaselineParams),
        load_section("inner_folds", InnerFoldParams),
    )
    predict = load_section("predict", PredictParams)
    outcomes = run_folds(system, store, folds, settings)
    branches = gather(outcomes, store)
    history = [row for outcome in outcomes for row in outcome.history]
    save_networks(results / "fusion", system, store, outcomes, settings)
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
