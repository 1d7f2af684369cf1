"""`avemo export`: a saved model as ONNX graphs."""

import importlib.util
import time
from pathlib import Path

from pipeline.errors import ExportError, MediaError
from pipeline.files import UPLOAD, refuse_address
from pipeline.work.progress import counted, print_summary

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Of the extra `export`."""


def main(out: Path, model: str, clip: Path | None) -> None:
    """Write a model as ONNX and say how far it is from torch.

    Args:
        out: folder to write.
        model: see `stages.cli.predict.load_model`.
        clip: recording whose frames have the size of those that the detector will get.

    Raises:
        ExportError: a package is missing, or the model cannot be exported.
        WeightsError: the model cannot be read.
        MediaError: the recording cannot be read.
    """
    refuse_address(out, "folder", ExportError, UPLOAD)
    if clip is not None:
        refuse_address(clip, "file", MediaError)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f'export: {", ".join(missing)} not installed; run `pip install "avemo[export]"`'
        )
    from models.device import CPU
    from models.export.folder import export_model
    from models.recognition.recognizer import Recognizer
    from stages.cli.predict import model_folder

    started = time.monotonic()
    folder = model_folder(model)
    card = export_model(Recognizer.load(folder, CPU), folder, out, clip)
    frames = f", frames of {card['width_px']}x{card['height_px']} px" if card["frames"] else ""
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    print_summary(
        "export",
        f"{card['system']} as {counted(len(card['differences']), 'graph')}{frames}, at most "
        f"{max(card['differences'].values()):.0e} from torch, {size:.1f} MB in {out}",
        started,
    )
