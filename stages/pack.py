"""Stage `pack`: the model that `avemo predict` uses, as one folder.

Inputs: the products of the run in `results`; with `pack.clips: all` those in `data` that its system
reads, to train it once more. Output: `results/model`, see `models.saved_model`. Params: `extract`,
`resample`, `annotate`, `embed`, `predict`, `pack`; the others are those that the run saved.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from annotations.params import AnnotateParams
from models.audio.params import EmbedParams
from models.faces.detector_file import detector_params
from models.model_card import HeldOutScores, InputParams
from models.saved_model import write_model
from models.systems.params import PackParams
from pipeline.media.params import ExtractParams, ResampleParams
from pipeline.params import load_section
from pipeline.report.run import read_run, saved_networks
from pipeline.scores.params import PredictParams
from pipeline.scores.predictions import headline, read_predictions
from pipeline.work.progress import print_summary
from stages.boundary import run


def main(data: Path, results: Path, out: Path) -> None:
    """Pack the networks of the first fold, or of every clip, as a model."""
    started = time.monotonic()
    pack = load_section("pack", PackParams)
    finished = read_run(results / "run.json")
    branches = read_predictions(results / "predictions.csv")
    tested = branches[headline(branches)]
    with TemporaryDirectory(prefix="avemo-") as scratch:
        folder, fold = results, finished.protocol.folds[0].name
        if pack.clips == "all":
            from models.systems.refit import refit  # brings all that trains

            folder = Path(scratch)
            fold = refit(finished, tested, data, results, folder)
        networks = saved_networks(finished, folder, fold)
        inputs = InputParams(
            extract=load_section("extract", ExtractParams),
            resample=load_section("resample", ResampleParams),
            annotate=load_section("annotate", AnnotateParams),
            embed=load_section("embed", EmbedParams),
            detector=detector_params(networks[1]) if networks[1] else None,
            predict=load_section("predict", PredictParams),
            pack=pack,
        )
        scores = HeldOutScores.of(finished.scores, tested)
        card = write_model(out, networks, inputs, finished.corpus.name, scores)
    size = sum(path.stat().st_size for path in out.rglob("*")) / 1e6
    clips = f"{len(card.training_clips)} training clips"
    print_summary("pack", f"{card.system}, fold {fold}, {clips}, {size:.1f} MB in {out}", started)


if __name__ == "__main__":
    run(main)
