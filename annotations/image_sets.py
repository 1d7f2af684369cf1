"""Lists of frames beside the annotations: VOC's `ImageSets/Main`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.clips import ClipRecord, frame_name
from pipeline.files import replace_folder
from pipeline.splits import Fold


def write_image_sets(folder: Path, records: Sequence[ClipRecord], folds: Sequence[Fold]) -> None:
    """Rebuild `folder/Main`: which frames train and which test.

    `train.txt` and `test.txt` are those of the first fold; `rest.txt`, where there is any, lists
    the frames that it uses for neither. These three share no frame and together name every frame
    once, because datumaro reads all lists without `_` in their name and would import a frame of
    two lists twice (hence no `trainval.txt`). `<fold>_train.txt` and `<fold>_test.txt` give all
    folds. Frames without a face are listed: nothing to find is data.

    Args:
        folder: `ImageSets`, replaced as a whole.
        records: all clips.
        folds: of the protocol; without any, all frames stand in `rest.txt`.
    """
    frames = {
        record.clip_id: [frame_name(record.clip_id, index) for index in range(record.frames)]
        for record in records
    }
    first = {"train": folds[0].train, "test": folds[0].test} if folds else {}
    lists: dict[str, Iterable[str]] = dict(first)
    rest = sorted(set(frames).difference(*first.values()))
    if rest:
        lists["rest"] = rest
    for fold in folds:
        lists |= {f"{fold.name}_train": fold.train, f"{fold.name}_test": fold.test}
    with replace_folder(folder) as part:
        (part / "Main").mkdir()
        for name, clip_ids in lists.items():
            lines = [f"{frame}\n" for clip_id in clip_ids for frame in frames[clip_id]]
            (part / "Main" / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
