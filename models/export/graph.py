"""One network as one ONNX file, held against torch by onnxruntime."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxscript import opset18 as op
from torch import Tensor, nn

from pipeline.errors import ExportError

OPSET = 18
"""Version of the ONNX operators."""

TOLERANCE = 1e-4
"""Largest difference between onnxruntime and torch, as a share of the largest number of an output
where that is above 1: for probabilities and scores an absolute one."""

Inputs = Mapping[str, NDArray[Any]]
"""By name."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The first axis of an input, where its length may vary between `least` and `most`."""

    name: str
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A network to export, and what it must answer.

    Attributes:
        name: of the file, without its suffix.
        module: takes the inputs by their names; traced on the first trial.
        outputs: names, in the module's order.
        reference: what avemo computes from the same inputs, in the same order.
        trials: inputs by which both are compared.
        axes: by input, where its first axis varies.
    """

    name: str
    module: nn.Module
    outputs: tuple[str, ...]
    reference: Callable[[Inputs], Sequence[Tensor]]
    trials: Sequence[Inputs]
    axes: Mapping[str, Axis] = field(default_factory=dict)


def write_graph(graph: Graph, folder: Path) -> float:
    """Write `<name>.onnx` and hold it against the reference.

    Returns:
        The largest difference, see `TOLERANCE`.

    Raises:
        ExportError: it is above `TOLERANCE`.
    """
    path, example = folder / f"{graph.name}.onnx", graph.trials[0]
    sizes = {
        axis.name: torch.export.Dim(axis.name, min=axis.least, max=axis.most)
        for axis in graph.axes.values()
    }
    shapes = {n: {0: sizes[graph.axes[n].name]} if n in graph.axes else None for n in example}
    with warnings.catch_warnings():
        # torchvision's own, of how it describes NMS; and that two inputs share an axis
        for message in ("`create_unbacked_symint` is deprecated", "# The axis name"):
            warnings.filterwarnings("ignore", message)
        program = torch.onnx.export(
            graph.module.eval(),
            kwargs={name: torch.from_numpy(value) for name, value in example.items()},
            dynamic_shapes=shapes,
            input_names=list(example),
            output_names=graph.outputs,
            opset_version=OPSET,
            custom_translation_table={torch.ops.aten.log_sigmoid.default: _log_sigmoid},
            verbose=False,
        )
    assert program is not None
    program.save(path)
    return compared(graph, path)


def _log_sigmoid(x):  # type: ignore[no-untyped-def]  # of onnxscript's types
    """Log s(x); torch's own translation is the log of a sigmoid that is rounded to 0 early."""
    return op.Neg(op.Softplus(op.Neg(x)))


@torch.no_grad()
def compared(graph: Graph, path: Path) -> float:
    """Largest difference over the trials, see `TOLERANCE`.

    Raises:
        ExportError: it is above `TOLERANCE`.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for trial in graph.trials:
        answers = session.run(None, dict(trial))
        for name, answer, expected in zip(
            graph.outputs, answers, graph.reference(trial), strict=True
        ):
            found = difference(answer, expected.numpy())
            if not found <= TOLERANCE:
                shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in trial.items())
                raise ExportError(
                    f"{path.name}: output {name} of {shapes} differs from torch by {found:.1e}, "
                    f"expected at most {TOLERANCE:.0e}; nothing was written; try other versions "
                    "of onnxruntime and onnxscript"
                )
            largest = max(largest, found)
    return largest


def difference(answer: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Largest difference of two arrays, see `TOLERANCE`; infinite where shapes differ."""
    if answer.shape != expected.shape:
        return float("inf")
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(answer - expected).max()) / scale
