"""The folder `results` of a finished run, as the report reads it: nothing else is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import CorpusError
from pipeline.files import file_digest, read_table
from pipeline.report.frames import Detection, Picture, picture, read_detections
from pipeline.report.run import Run, read_run
from pipeline.scores.predictions import Predictions, headline, read_predictions
from pipeline.work.occasion import Occasion, read_occasions


@dataclass(frozen=True, slots=True)
class Results:
    """A finished run with its tables; what a run does not have is empty.

    Attributes:
        run: the record of the run.
        branches: predictions by branch, the headline first.
        history: losses of the system, a row per epoch.
        detector_history: losses of the detector, a row per epoch.
        detections: the best one of each test frame.
        frames: folder of the frames of `run.frames`.
        occasions: when and where each stage last ran.
        committed_test_set: `test_set` of the commit's `metrics.json`, "" where it states none.
    """

    run: Run
    branches: Mapping[str, Predictions]
    history: Sequence[Mapping[str, str]]
    detector_history: Sequence[Mapping[str, str]]
    detections: Sequence[Detection]
    frames: Path
    occasions: Sequence[Occasion] = ()
    committed_test_set: str = ""
    pictures: Mapping[str, Picture] = field(init=False)

    def __post_init__(self) -> None:
        found = {(one.clip_id, one.frame): one for one in self.detections}
        pictures = {
            shown.name: picture(shown, self.frames, found.get((shown.clip_id, shown.frame)))
            for shown in self.run.frames
        }
        object.__setattr__(self, "pictures", pictures)

    @property
    def headline(self) -> str:
        """Branch of the headline figures."""
        return headline(self.branches)

    @property
    def main(self) -> Predictions:
        """Predictions of the headline branch."""
        return self.branches[self.headline]

    @property
    def speakers(self) -> dict[str, str]:
        """Speaker of each test clip."""
        return dict(zip(self.main.clip_id, self.main.speaker, strict=True))

    def picture_of(self, clip_id: str) -> Picture | None:
        """A frame of a clip; None where none is shown."""
        own = (one for one in self.pictures.values() if one.shown.clip_id == clip_id)
        return next(own, None)


def read_results(folder: Path, committed_test_set: str = "") -> Results:
    """Read a run.

    Args:
        folder: `results`.
        committed_test_set: see `Results`.

    Raises:
        CorpusError: a table is not what its stage writes, or tables are not of one run.
    """
    detections = folder / "detector" / "detections.csv"
    results = Results(
        run=read_run(folder / "run.json"),
        branches=read_predictions(folder / "predictions.csv"),
        history=read_rows(folder / "history.csv"),
        detector_history=read_rows(folder / "detector" / "history.csv"),
        detections=read_detections(detections) if detections.is_file() else [],
        frames=folder / "frames",
        occasions=_occasions(folder),
        committed_test_set=committed_test_set,
    )
    if len(results.main) != results.run.scores.clips:
        raise CorpusError(
            f"{folder}: predictions.csv holds {len(results.main)} test clips and run.json "
            f"{results.run.scores.clips}; run `dvc repro fuse`"
        )
    return results


def _occasions(folder: Path) -> list[Occasion]:
    """The notes of the stages, but that of `fuse` only where it is of this run."""
    run = file_digest(folder / "run.json")
    notes = read_occasions(folder / "occasion")
    return [note for note in notes if note.stage != "fuse" or note.run == run]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV; none where the run did not write it.

    Raises:
        CorpusError: it is no table.
    """
    return read_table(path, dict, "run `dvc repro`") if path.is_file() else []
