"""What `avemo tables` and `avemo ablations` begin with: parameters and the stages' products."""

from pathlib import Path

from models.comparison.runner import Bench, require_products
from models.faces.params import DetectorParams
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines.params import BaselineParams
from models.systems.inputs import Store
from models.systems.params import Settings, TrainingParams
from pipeline.clips import read_clips
from pipeline.errors import CorpusError
from pipeline.params import PARAMS_FILE, load_section, parse_yaml, read_params
from pipeline.splits import InnerFoldParams, SplitParams

DATA, RESULTS = Path("data"), Path("results")
"""As in `dvc.yaml`."""

PRODUCERS = ("demo", "extract", "resample", "annotate", "embed")
"""Stages whose products all trials read."""


def load_bench() -> Bench:
    """Sections of `params.yaml` and the products below `DATA`.

    Raises:
        ParamsError: a value is refused.
        CorpusError: no clips are indexed yet, or the products are not those of `params.yaml`.
    """
    require_products(DATA, ("clips.csv",))
    _require_current(Path("dvc.lock"))
    settings = Settings(
        load_section("training", TrainingParams),
        load_section("audio", AudioParams),
        load_section("visual", VisualParams),
        load_section("fusion", FusionParams),
        load_section("loss", LossParams),
        load_section("baselines", BaselineParams),
        load_section("inner_folds", InnerFoldParams),
    )
    return Bench(
        Store(tuple(read_clips(DATA / "clips.csv")), DATA, RESULTS / "detector"),
        settings,
        load_section("split", SplitParams),
        load_section("detector", DetectorParams),
        RESULTS / "tables",
    )


def _require_current(lock: Path) -> None:
    """Refuse products of another corpus or other settings than `params.yaml` names now."""
    if not lock.is_file():
        return  # made without DVC
    params = read_params()
    stages = parse_yaml(lock.read_text(encoding="utf-8"), lock)["stages"]
    for stage in PRODUCERS:
        made_with = stages.get(stage, {}).get("params", {}).get(str(PARAMS_FILE), {})
        for section, values in made_with.items():
            if section not in ("system", "split") and params.get(section) != values:
                raise CorpusError(
                    f"data: `{stage}` last ran with another section `{section}` than params.yaml "
                    "now has; run `dvc repro` first"
                )
