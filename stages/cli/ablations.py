"""`avemo ablations`: what each part of the method is worth.

Reads as `avemo tables`; writes `ablations.csv`, `ablations.md` and the same page `tables.html`,
and a detector for each box loss and seed, below `results`. Not a stage of `dvc.yaml` either.
"""

import time

from models.comparison.tables import ablation_table
from pipeline.report.comparison.files import write_ablations
from pipeline.report.comparison.rows import Origin
from pipeline.report.run import Facts
from pipeline.work.progress import closing, counted
from stages.cli.comparison import RESULTS, load_bench


def main(protocol: str, seeds: int) -> None:
    """Run all ablations and write their tables.

    Args:
        protocol: its name; "" means that of `params.yaml`.
        seeds: trainings of each variant, with the seeds 0, 1, ...
    """
    started = time.monotonic()
    bench, facts = load_bench(), Facts.read()
    origin = Origin(facts.corpus, facts.audio_weights)
    rows = ablation_table(bench, protocol or bench.split.protocol, range(seeds), origin)
    write_ablations(RESULTS, rows, facts)
    page = (RESULTS / "tables.html").resolve().as_uri()
    closing("ablations", f"{counted(len(rows), 'row')}, {counted(seeds, 'seed')}, {page}", started)
