"""`avemo corrections`: frames to annotation tools and back."""

from pathlib import Path
from typing import Annotated

import typer

from annotations.params import AnnotateParams
from pipeline.clips import read_clips
from pipeline.errors import AnnotationError
from pipeline.files import UPLOAD, refuse_address
from pipeline.params import load_section
from pipeline.work.progress import counted
from stages.boundary import new_app

app = new_app(no_args_is_help=True, help="Put annotations right in labelImg, CVAT or the like.")

VOC, CLIPS, CORRECTIONS = Path("data/voc"), Path("data/clips.csv"), Path("annotations/corrections")
"""As in `dvc.yaml`."""

SHOWN = 20
"""Changes that are printed one by one."""


@app.command("export")
def export_(
    frames: Annotated[Path, typer.Argument(help="List of frames, one a line, as of the gallery.")],
    out: Annotated[Path, typer.Argument(help="Folder to make, or a .zip for CVAT.")],
) -> None:
    """Write frames with their annotations for labelImg or CVAT."""
    from annotations.review.exchange import export_frames  # imports dlib

    refuse_address(frames, "file", AnnotationError)
    refuse_address(out, "folder or file", AnnotationError, UPLOAD)
    try:
        lines = frames.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{frames}: not a readable list of frames ({error})") from error
    names = [line.strip().removesuffix(".jpg") for line in lines if line.strip()]
    names = list(dict.fromkeys(names))
    export_frames(names, VOC, out)
    print(f"{out}: {counted(len(names), 'frame')}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder or .zip of a tool, or data/voc itself.")],
) -> None:
    """Keep what was put right, in annotations/corrections."""
    from annotations.review.exchange import import_corrections  # imports dlib

    refuse_address(source, "folder or file", AnnotationError)
    params = load_section("annotate", AnnotateParams)
    found = import_corrections(source, VOC, CORRECTIONS, read_clips(CLIPS), params)
    for name, change in list(found.changes.items())[:SHOWN]:
        print(f"{name}: {change}")
    if len(found.changes) > SHOWN:
        print(f"and {len(found.changes) - SHOWN} more")
    if found.strays:
        strays = counted(len(found.strays), "file")
        print(f"left out {strays} of no stored frame, the first is {found.strays[0]}")
    print(f"{counted(len(found.changes), 'frame')} corrected, {found.same} as they were")
    if found.changes:
        print(f"commit {CORRECTIONS} and run `dvc repro`")
