"""Stage `fuse`: train and score the system on every fold of the protocol.

Reads embeddings, face features, speech activity, frames and `data/clips.csv`; writes
`results/fusion`, `results/predictions.csv`, `results/unlabelled.csv` (in the same form, each fold's
answers for the clips without an emotion), `results/history.csv`, `results/metrics.json`, and for
the report `results/run.json` and `results/frames`. Params: `system` and the sections that it
trains by; those of the stages before it are recorded.
"""

import logging
import time
from pathlib import Path

from models.systems.evaluate import (
    before_calibration,
    collapsed_pools,
    faceless_clips,
    gather,
    gather_asked,
    joint_boxes,
    mean_weights,
    run_folds,
    save_networks,
    scratch_of_run,
)
from models.systems.inputs import Store
from models.systems.record import Sections, record_run
from pipeline.clips import read_clips
from pipeline.files import write_json
from pipeline.report.run import write_run
from pipeline.scores.metrics import summarise, summarise_plainly
from pipeline.scores.predictions import headline, write_predictions
from pipeline.scores.results import headline_metrics, write_history
from pipeline.splits import make_folds
from pipeline.systems import SYSTEMS, load_system
from pipeline.work.integrity import require_frames
from pipeline.work.progress import counted, print_summary, timed
from pipeline.work.scratch import scratch_at
from stages.boundary import run

log = logging.getLogger(__name__)


def main(data: Path, results: Path) -> None:
    """Train and score the system on every fold of the protocol."""
    started = time.monotonic()
    system, sections = load_system(), Sections.read()
    store = Store(tuple(read_clips(data / "clips.csv")), data, results / "detector")
    if SYSTEMS[system].reads_frames(sections.settings.fusion.joint):
        require_frames(store.voc)
    folds = make_folds(store.records, sections.split)
    state = scratch_of_run(system, store, folds, sections.settings)
    with timed("training and inference"), scratch_at(state):
        outcomes = run_folds(system, store, folds, sections.settings)
    branches = gather(outcomes, store)
    save_networks(results / "fusion", system, store, outcomes, sections.settings)
    write_predictions(results / "predictions.csv", branches)
    write_predictions(results / "unlabelled.csv", gather_asked(outcomes, store))
    write_history(results / "history.csv", [row for one in outcomes for row in one.history])
    with timed("scores"):
        scores = summarise(branches, sections.predict.abstain_below)
        scores |= {
            "as_trained": summarise_plainly(gather(before_calibration(outcomes), store)),
            "weights": mean_weights(outcomes),
            "collapsed": collapsed_pools(outcomes),
            "faceless": faceless_clips(outcomes),
        }
        boxes = joint_boxes(outcomes, sections.detector)
    scored = [outcome.fold for outcome in outcomes]
    record = record_run(system, sections, store, scored, branches, scores, boxes, results)
    write_run(results / "run.json", record)
    for warning in (*record.scores.warnings, *filter(None, [(boxes or {}).get("warning")])):
        log.warning(warning)
    main, detector = branches[headline(branches)], boxes or record.detector
    write_json(results / "metrics.json", headline_metrics(scores, detector, main))
    text = ", ".join(f"{name} {one.correct.mean():.3f}" for name, one in branches.items())
    counts = f"{counted(len(scored), 'fold')}, {counted(len(main), 'test clip')}"
    print_summary("fuse", f"{system}, {counts}, {text}", started)


if __name__ == "__main__":
    run(main)
