"""`avemo tables` and `avemo ablations`: many systems and variants beside each other.

They read what the stages before `fuse` wrote below `data`. `tables` writes `tables.csv` and
`tables.md` into `results`, `ablations` writes `ablations.csv` and `ablations.md`; either renews
the page `tables.html`, and leaves its detectors below `results/tables`. Both are long and
optional, so they are no stages of `dvc.yaml`: what they trained is in the clip cache, and a second
call goes on from there. Params: those of `detect` and `fuse`.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from models.audio.params import EmbedParams
from models.comparison.runner import Setup, require_products
from models.comparison.tables import ablation_table, system_table
from models.faces.params import DetectorParams
from models.systems.inputs import Store
from models.systems.params import Settings
from pipeline.clips import read_clips
from pipeline.corpora.params import CorpusParams
from pipeline.errors import CorpusError
from pipeline.params import PARAMS_FILE, load_section, parse_yaml, read_params
from pipeline.report.comparison.page import write_comparison
from pipeline.report.comparison.rows import Row
from pipeline.report.comparison.studies import STUDY_KEYS
from pipeline.splits import SplitParams
from pipeline.systems import PAPER_SYSTEMS
from pipeline.work.progress import counted, print_summary

log = logging.getLogger(__name__)

DATA, RESULTS, LOCK = Path("data"), Path("results"), Path("dvc.lock")
"""As in `dvc.yaml`."""

PRODUCERS = ("demo", "extract", "resample", "annotate", "embed")
"""Stages whose products all trials read."""


def tables(systems: Sequence[str], protocols: Sequence[str], seeds: int) -> None:
    """Run systems under protocols and write the tables.

    Args:
        systems: names; none means those of the paper.
        protocols: names; none means that of `params.yaml`.
        seeds: trainings of each system, with the seeds 0, 1, ...
    """
    started = time.monotonic()
    setup = load_setup()
    protocols = protocols or [setup.split.protocol]
    rows = system_table(setup, systems or PAPER_SYSTEMS, protocols, range(seeds))
    _write("tables", rows, seeds, started)


def ablations(protocol: str, seeds: int, studies: Sequence[str]) -> None:
    """Run ablations and write their tables.

    Args:
        protocol: its name; "" means that of `params.yaml`.
        seeds: trainings of each variant, with the seeds 0, 1, ...
        studies: their keys; none means all.
    """
    started = time.monotonic()
    setup = load_setup()
    protocol = protocol or setup.split.protocol
    rows = ablation_table(setup, protocol, range(seeds), studies or STUDY_KEYS)
    _write("ablations", rows, seeds, started)


def load_setup() -> Setup:
    """Sections of `params.yaml` and the products below `DATA`.

    Raises:
        ParamsError: a value is refused.
        CorpusError: no clips are indexed yet, or the products are not those of `params.yaml`.
    """
    require_products(DATA, ("clips.csv",))
    _require_current(LOCK)
    return Setup(
        Store(tuple(read_clips(DATA / "clips.csv")), DATA, RESULTS / "detector"),
        Settings.read(),
        load_section("split", SplitParams),
        load_section("detector", DetectorParams),
        load_section("corpus", CorpusParams).name,
        load_section("embed", EmbedParams).weights,
        RESULTS / "tables",
    )


def _require_current(lock: Path) -> None:
    """Refuse products of another corpus or other settings than `params.yaml` names now."""
    if not lock.is_file():
        log.warning(
            "%s: no such file: nothing tells whether data/ was made from today's params.yaml; "
            "`dvc repro` writes it",
            lock,
        )
        return
    params = read_params()
    stages = parse_yaml(lock.read_text(encoding="utf-8"), lock)["stages"]
    for stage in PRODUCERS:
        recorded = stages.get(stage, {}).get("params", {}).get(str(PARAMS_FILE), {})
        for section, values in recorded.items():
            if section not in ("system", "split") and params.get(section) != values:
                raise CorpusError(
                    f"data: `{stage}` last ran with another section `{section}` than params.yaml "
                    "now has; run `dvc repro` first"
                )


def _write(
    name: Literal["tables", "ablations"], rows: Sequence[Row], seeds: int, started: float
) -> None:
    page = write_comparison(RESULTS, name, rows).resolve().as_uri()
    print_summary(name, f"{counted(len(rows), 'row')}, {counted(seeds, 'seed')}, {page}", started)
