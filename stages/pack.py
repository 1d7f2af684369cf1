"""Stage `pack`: the model that `avemo predict` uses, as one folder that needs nothing else.

Inputs: `results/fusion`, `results/detector`, `results/metrics.json`. Output: `results/model`, see
`models.saved_model`. Params: `extract`, `resample`, `annotate`, `embed`, `predict`, `pack`; the
others are taken from what `detect` and `fuse` saved.
"""

import json
import time
from pathlib import Path

from annotations.params import AnnotateParams
from models.audio.params import EmbedParams
from models.checkpoint import load_safetensors
from models.faces.weights import detector_params
from models.saved_model import InputParams, write_model
from models.systems.params import PackParams
from pipeline.errors import ParamsError, WeightsError
from pipeline.media.params import ExtractParams, ResampleParams
from pipeline.params import load_section
from pipeline.scores.calibration import PredictParams
from pipeline.systems import SYSTEMS
from pipeline.work.progress import closing
from stages.cli.boundary import run

HEADLINE = ("clips", "accuracy", "uar", "macro_f1", "ece", "nll", "brier", "branches")
"""Of `metrics.json`, with their intervals."""


def main(results: Path, out: Path) -> None:
    """Pack the networks of the first fold as a model."""
    started = time.monotonic()
    pack = load_section("pack", PackParams)
    if pack.clips == "all":
        raise ParamsError("params.yaml: pack.clips: got all, expected fold; all is not supported")
    network = next(iter(sorted((results / "fusion").glob("*.safetensors"))), None)
    if network is None:
        raise WeightsError(f"{results / 'fusion'}: holds no network; run `dvc repro fuse`")
    system = load_safetensors(network)[1].get("system", "")
    reads_faces = system in SYSTEMS and "face_features" in SYSTEMS[system].reads
    detector = results / "detector" / network.name if reads_faces else None
    inputs = InputParams(
        extract=load_section("extract", ExtractParams),
        resample=load_section("resample", ResampleParams),
        annotate=load_section("annotate", AnnotateParams),
        embed=load_section("embed", EmbedParams),
        detector=detector_params(detector) if detector else None,
        predict=load_section("predict", PredictParams),
        pack=pack,
    )
    metrics = json.loads((results / "metrics.json").read_text(encoding="utf-8"))
    kept = {k: v for k, v in metrics.items() if k.removesuffix("_95") in HEADLINE}
    card = write_model(out, network, detector, inputs, kept)
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    closing(
        "pack",
        f"{card.system}, fold {card.fold}, {len(card.training_clips)} training clips, "
        f"{size:.1f} MB in {out}",
        started,
    )


if __name__ == "__main__":
    run(main)
