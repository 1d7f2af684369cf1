"""The folder that `avemo export` writes.

| file              | content                                                                     |
|-------------------|-----------------------------------------------------------------------------|
| `<graph>.onnx`    | see `models.export.graphs`                                                  |
| `model.json`      | emotions in order, rate, frame size, blocks of `audio`, heads, SHA-256, ... |
| `example.py`      | runs them; needs onnxruntime and numpy alone                                |
| `README.md`       | the model's card in words                                                   |
| `LICENSE`         | of the model, where one lies in its folder                                  |
| `<graph>.LICENSE` | of a speech encoder, where one lies beside its weights                      |
"""

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.export.graph import OPSET, TOLERANCE, write_graph
from models.export.graphs import HEADS, Sample, graph_name, graphs_of
from models.faces.frames import sampled_frames
from models.model_card import describe
from models.recognition.recognizer import Recognizer
from models.recognition.windows import decoded
from models.saved_model import WORDS
from models.systems.registry import ROWS_OF, row
from models.threads import pinned_threads
from pipeline.errors import ExportError
from pipeline.files import file_digest, notices, replace_folder, write_json
from pipeline.media.images import Picture, read_image
from pipeline.media.sound import SAMPLE_RATE_HZ
from pipeline.work.progress import track

EXAMPLE = Path(__file__).with_name("example.py")

PACKAGES = ("avemo", "torch", "torchvision", "onnx", "onnxscript", "onnxruntime")
"""Whose versions are noted."""


def export_model(
    recognizer: Recognizer, model: Path, out: Path, clip: Path | None
) -> dict[str, Any]:
    """Write the folder, or nothing where a graph does not agree with torch.

    Args:
        recognizer: the model.
        model: the folder that it was loaded from.
        out: the folder; nothing of that name may exist.
        clip: a recording such as the model will meet; the detector takes frames of its size.

    Returns:
        The content of `model.json`.

    Raises:
        ExportError: `out` exists, no graph computes what the system reads, a recording is needed,
            or a graph differs from torch.
        MediaError: the recording cannot be read.
    """
    if out.exists():
        raise ExportError(f"{out}: exists already; remove it or name another folder")
    _require_graphs(recognizer)
    sample = _sample(recognizer, clip)
    with replace_folder(out) as part, pinned_threads(1):
        differences, heard = {}, []
        for graph in track(graphs_of(recognizer, sample), desc="export", unit="graph"):
            differences[graph.name] = write_graph(graph, part)
            heard += [graph.axes[name].most for name in graph.axes if name == "waveform"]
        for source, name in ((EXAMPLE, EXAMPLE.name), *_notices(recognizer, model)):
            shutil.copyfile(source, part / name)
        (part / WORDS).write_text(describe(recognizer.card), encoding="utf-8")
        content = {
            **_card(recognizer, sample),
            "longest_s": min(heard, default=0) / SAMPLE_RATE_HZ,
            "opset": OPSET,
            "tolerance": TOLERANCE,
            "differences": differences,
            "versions": {name: version(name) for name in PACKAGES},
            "files": {path.name: file_digest(path) for path in sorted(part.iterdir())},
        }
        write_json(part / "model.json", content)
    return content


def _require_graphs(recognizer: Recognizer) -> None:
    known = set(HEADS["av"][1])
    unknown = set(recognizer.reads) - known
    if unknown:
        able = ", ".join(name for name in ROWS_OF if known.issuperset(row(name).inputs))
        raise ExportError(
            f"system {recognizer.card.system}: reads {' and '.join(sorted(unknown))}, which no "
            f"graph computes; expected a model of {able}"
        )


def _sample(recognizer: Recognizer, clip: Path | None) -> Sample:
    pictures, waveform = first_window(recognizer, clip) if clip else ({}, None)
    if clip and recognizer.audio_blocks and waveform is None:
        raise ExportError(f"--clip: {clip} has no sound, which {recognizer.card.system} reads")
    params = recognizer.card.inputs.detector
    if recognizer.detector is None or params is None:
        return Sample((), waveform)
    if not pictures:
        got = f"{clip} has no picture" if clip else "got none"
        raise ExportError(
            f"--clip: {got}; expected a recording whose frames have the size of those to come, as "
            "the detector is exported for one size"
        )
    shown = list(pictures.values())
    chosen = sampled_frames(list(pictures), params.frames_per_clip)
    return Sample([shown[index] for index in chosen], waveform)


def first_window(
    recognizer: Recognizer, clip: Path
) -> tuple[dict[float, Picture], NDArray[np.float32] | None]:
    """Frames by their times in s, and sound [T] at 32 kHz, of a recording's first window.

    They are as `predict` reads them.

    Raises:
        MediaError: it cannot be decoded.
    """
    with decoded(clip, recognizer.sees, recognizer.card.inputs) as recording:
        window = next(recording.windows())
        shown = zip(window.times_s, window.frames, strict=True)
        return {time_s: read_image(frame) for time_s, frame in shown}, window.waveform


def _notices(recognizer: Recognizer, model: Path) -> Iterator[tuple[Path, str]]:
    """Licences of what the graphs contain, each with its name beside them."""
    for file in notices(model):
        yield file, file.name
    for block, weights in recognizer.audio_blocks.items():
        if weights and weights.pooling and weights.path:
            for file in notices(weights.path.parent):
                yield file, f"{graph_name(block)}.{file.name}"


def _card(recognizer: Recognizer, sample: Sample) -> dict[str, Any]:
    card = recognizer.card
    height_px, width_px = sample.pictures[0].shape[:2] if sample.pictures else (0, 0)
    params = card.inputs.detector
    return {
        "system": card.system,
        "corpus": card.corpus,
        "fold": card.fold,
        "emotions": card.emotions,
        "heads": dict(HEADS[branch] for branch in card.branches),
        "audio": [graph_name(block) for block in recognizer.audio_blocks],
        "rate_hz": SAMPLE_RATE_HZ,
        "frames": params.frames_per_clip if params else 0,
        "height_px": height_px,
        "width_px": width_px,
    }
