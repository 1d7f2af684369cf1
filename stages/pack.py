"""Stage `pack`: the model that `avemo predict` uses, as one folder that needs nothing else.

Inputs: `results/fusion`, `results/detector`, `results/run.json`. Output: `results/model`, see
`models.saved_model`. Params: `extract`, `resample`, `annotate`, `embed`, `predict`, `pack`; the
others are taken from what `detect` and `fuse` saved.
"""

import time
from pathlib import Path

from annotations.params import AnnotateParams
from models.audio.params import EmbedParams
from models.faces.weights import detector_params
from models.saved_model import InputParams, write_model
from models.systems.evaluate import JOINT_DETECTORS
from models.systems.params import PackParams
from pipeline.media.params import ExtractParams, ResampleParams
from pipeline.params import load_section
from pipeline.report.run import read_run
from pipeline.scores.params import PredictParams
from pipeline.systems import SYSTEMS
from pipeline.work.progress import print_summary
from stages.cli.boundary import run

SCORES = {"clips", "chance", "majority", "branches"}
"""Of `run.json`: what the model's card says of the test clips, with intervals."""


def main(results: Path, out: Path) -> None:
    """Pack the networks of the first fold as a model."""
    started = time.monotonic()
    pack = load_section("pack", PackParams)
    finished = read_run(results / "run.json")
    network = results / "fusion" / f"{finished.protocol.folds[0].name}.safetensors"
    system = SYSTEMS[finished.system]
    joint = system.can_be_joint and finished.method.joint
    detectors = network.parent / JOINT_DETECTORS if joint else results / "detector"
    detector = detectors / network.name if "face_features" in system.reads else None
    inputs = InputParams(
        extract=load_section("extract", ExtractParams),
        resample=load_section("resample", ResampleParams),
        annotate=load_section("annotate", AnnotateParams),
        embed=load_section("embed", EmbedParams),
        detector=detector_params(detector) if detector else None,
        predict=load_section("predict", PredictParams),
        pack=pack,
    )
    scores = finished.scores.model_dump(mode="json", include=SCORES)
    card = write_model(out, (network, detector), inputs, finished.corpus.name, scores)
    size = sum(path.stat().st_size for path in out.rglob("*")) / 1e6
    print_summary(
        "pack",
        f"{card.system}, fold {card.fold}, {len(card.training_clips)} training clips, "
        f"{size:.1f} MB in {out}",
        started,
    )


if __name__ == "__main__":
    run(main)
