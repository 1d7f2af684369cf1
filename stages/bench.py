"""What `avemo tables` and `avemo ablations` begin with: parameters and the stages' products."""

from pathlib import Path

from models.audio import AudioParams
from models.baselines.params import BaselineParams
from models.bench import Bench, require_products
from models.data import Store
from models.detector import DetectorParams
from models.fusion import FusionParams, LossParams
from models.systems import Settings
from models.visual import VisualParams
from pipeline.clips import read_clips
from pipeline.inner_folds import CalibrateParams
from pipeline.params import load_section
from pipeline.splits import SplitParams

DATA, RESULTS = Path("data"), Path("results")
"""As in `dvc.yaml`."""


def load_bench() -> Bench:
    """Sections of `params.yaml` and the products below `DATA`.

    Raises:
        ParamsError: a value is refused.
        CorpusError: no clips are indexed yet.
    """
    require_products(DATA, ("clips.csv",))
    settings = Settings(
        load_section("audio", AudioParams),
        load_section("visual", VisualParams),
        load_section("fusion", FusionParams),
        load_section("loss", LossParams),
        load_section("baselines", BaselineParams),
        load_section("calibrate", CalibrateParams),
    )
    return Bench(
        Store(tuple(read_clips(DATA / "clips.csv")), DATA, RESULTS / "detector"),
        settings,
        load_section("split", SplitParams),
        load_section("detector", DetectorParams),
        RESULTS / "tables",
    )
