"""`avemo tables`: every system of the paper's tables, under the protocols asked for.

Reads what the stages before `fuse` wrote below `data`; writes `tables.csv`, `tables.md` and
`tables.html`, and the detectors of each protocol, below `results`. It is long and optional, so it
is not a stage of `dvc.yaml`: what it trained is in the clip cache, and a second call goes on from
there. Params: those of `detect` and `fuse`.
"""

import time
from collections.abc import Sequence

from models.comparison.tables import system_table
from pipeline.report.comparison.files import write_systems
from pipeline.report.comparison.rows import Origin
from pipeline.report.run import Facts
from pipeline.systems import SYSTEMS
from pipeline.work.progress import closing, counted
from stages.cli.comparison import RESULTS, load_bench


def main(systems: Sequence[str], protocols: Sequence[str], seeds: int) -> None:
    """Run systems under protocols and write the tables.

    Args:
        systems: names; none means all.
        protocols: names; none means that of `params.yaml`.
        seeds: trainings of each system, with the seeds 0, 1, ...
    """
    started = time.monotonic()
    bench, facts = load_bench(), Facts.read()
    origin = Origin(facts.corpus, facts.audio_weights)
    protocols = protocols or [bench.split.protocol]
    rows = system_table(bench, systems or tuple(SYSTEMS), protocols, range(seeds), origin)
    write_systems(RESULTS, rows, facts)
    page = (RESULTS / "tables.html").resolve().as_uri()
    closing("tables", f"{counted(len(rows), 'row')}, {counted(seeds, 'seed')}, {page}", started)
