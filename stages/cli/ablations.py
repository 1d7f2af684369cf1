"""`avemo ablations`: what each part of the method is worth.

Reads as `avemo tables`; writes `ablations.csv`, `ablations.md` and the same page `tables.html`,
and a detector for each box loss and seed, below `results`. Not a stage of `dvc.yaml` either.
"""

import time

from models.audio.params import EmbedParams
from models.comparison.tables import ablation_table
from pipeline.corpora.params import CorpusParams
from pipeline.params import load_section
from pipeline.report.comparison.files import write_ablations
from pipeline.report.comparison.rows import Origin
from pipeline.work.progress import closing
from stages.cli.comparison import RESULTS, load_bench


def main(protocol: str, seeds: int) -> None:
    """Run all ablations and write their tables.

    Args:
        protocol: its name; "" means that of `params.yaml`.
        seeds: trainings of each variant, with the seeds 0, 1, ...
    """
    started = time.monotonic()
    bench = load_bench()
    origin = Origin(
        load_section("corpus", CorpusParams).name, load_section("embed", EmbedParams).weights
    )
    rows = ablation_table(bench, protocol or bench.split.protocol, range(seeds), origin)
    write_ablations(RESULTS, rows)
    page = (RESULTS / "tables.html").resolve().as_uri()
    closing("ablations", f"{len(rows)} rows, {seeds} seeds, {page}", started)
