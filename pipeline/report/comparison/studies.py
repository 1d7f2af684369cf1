"""What is switched off or turned in the ablations.

A study holds variants of systems; each variant but the reference names the one it is measured
against. The study of the box loss is apart: its figures are boxes, not emotions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.report.comparison.rows import BOXES
from pipeline.systems import OURS

Overrides = tuple[tuple[str, object], ...]
"""Settings that differ from `params.yaml`, as (`section.key`, value)."""

GRID = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Values of alpha and of beta in the grid."""

WITHHELD = (0.0, 0.2, 0.5)
"""Shares in the study of modality dropout, the reference first."""

CLOSER_PX = 64
"""Side of the crop in the study of the closer look."""

LOSS_GRID = "loss"
"""Key of the study that is shown as a grid."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A system with other settings than those of `params.yaml`.

    `against` is the name of the variant that it is measured against, "" for a reference.
    """

    name: str
    system: str
    overrides: Overrides = ()
    against: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """Variants that answer one question."""

    key: str
    title: str
    variants: tuple[Variant, ...]


SOUNDS = {"log-mel": "audio_cnn", "wavegram": "audio_wavegram", "both": "audio_wavegram_logmel"}
"""What the audio network reads, and the system that it is the network of."""


def _sound() -> tuple[Variant, ...]:
    reference = "both + hand-crafted"
    return tuple(
        Variant(
            name := sound + more,
            system,
            (("audio.handcrafted", bool(more)),),
            "" if name == reference else reference,
        )
        for more in (" + hand-crafted", "")
        for sound, system in SOUNDS.items()
    )


def _switch(key: str, words: Mapping[bool, str], systems: Mapping[str, str]) -> tuple[Variant, ...]:
    """Both states of a switch for each system; on is measured against off."""
    return tuple(
        Variant(
            f"{label}{words[state]}",
            system,
            ((key, state),),
            f"{label}{words[False]}" if state else "",
        )
        for system, label in systems.items()
        for state in (False, True)
    )


def _closer_look() -> tuple[Variant, ...]:
    """Detectors of their own; no inner folds, which would train twice as many again."""
    return tuple(
        Variant(
            f"{label}{words}",
            system,
            (("detector.closer_px", side_px), ("inner_folds.count", 0)),
            f"{label}one look" if side_px else "",
        )
        for label, system in (("visual, ", "visual_faster_rcnn"), ("audio-visual, ", OURS))
        for words, side_px in (("one look", 0), ("closer look", CLOSER_PX))
    )


def grid_name(alpha: float, beta: float) -> str:
    """Name of the variant of the grid that has these weights."""
    return f"alpha {alpha:g}, beta {beta:g}"


def _grid() -> tuple[Variant, ...]:
    """The network as trained: a temperature changes no accuracy, and would cost twice the time."""
    return tuple(
        Variant(
            grid_name(alpha, beta),
            "av_faster_rcnn",
            (("loss.alpha", alpha), ("loss.beta", beta), ("inner_folds.count", 0)),
            "" if alpha == beta == 0 else grid_name(0, 0),
        )
        for alpha in GRID
        for beta in GRID
    )


JOINT = (
    ("fusion.epochs", 3), ("fusion.joint_epochs", 3),
    ("fusion.lr", 1e-4), ("fusion.joint_lr", 1e-4),
    ("fusion.joint_frames", 6), ("inner_folds.count", 0),
)  # fmt: skip
"""What staged and joint training share, so that both take the same steps after the same warm-up.

Six frames are all that the demo's detector looks at; where it looks at more, a joint step sees six
of them, drawn anew. Networks are compared as trained: a temperature changes no accuracy. What
differs is what is asked: in joint training Eq. (4) also moves the detector, and L_v is its loss,
where in staged training it is that of the branch over its features.
"""


STUDIES = (
    Study("sound", "Log-mel, wavegram, both; hand-crafted features", _sound()),
    Study(
        "speech",
        "Frames weighted by visual speech activity",
        _switch(
            "visual.speech_weighting",
            {False: "all frames alike", True: "weighted by speech"},
            {"visual_faster_rcnn": "visual, ", "av_faster_rcnn": "audio-visual, "},
        ),
    ),
    Study(
        "closer",
        "One look at the frame (paper), or a closer one at the face with epochs of its own; "
        "probabilities as trained",
        _closer_look(),
    ),
    Study(
        "joint",
        "Staged and joint training at equal steps, as trained; a joint step sees six frames a clip",
        (
            Variant("staged", "av_faster_rcnn", (("fusion.joint", False), *JOINT)),
            Variant("joint", "av_faster_rcnn", (("fusion.joint", True), *JOINT), "staged"),
        ),
    ),
    Study(
        "head",
        "Layers over F = [A, V] alone (paper), or added to the branches' log p",
        (
            Variant("paper", "av_faster_rcnn", (("fusion.head", "paper"),)),
            Variant("residual", "av_faster_rcnn", (("fusion.head", "residual"),), "paper"),
        ),
    ),
    Study(
        "withheld",
        "Modality dropout: training withholds sound or picture of a share of the clips",
        tuple(
            Variant(
                f"{share:.0%}",
                OURS,
                (("fusion.modality_dropout", share),),
                f"{WITHHELD[0]:.0%}" if share else "",
            )
            for share in WITHHELD
        ),
    ),
    Study(LOSS_GRID, "Weights of the loss, Eq. (4), on the fused network as trained", _grid()),
)

STUDY_KEYS = (BOXES, *(study.key for study in STUDIES))
"""What can be asked for, in the order of the page."""


def overrides_text(overrides: Overrides) -> str:
    """As `dvc exp run -S` would take them: `loss.alpha=0.5 loss.beta=1.0`."""
    return " ".join(f"{key}={_yaml(value)}" for key, value in overrides)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
