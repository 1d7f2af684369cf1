"""Which of sound and video a system needs, and whether a corpus has it."""

from collections.abc import Sequence

from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError


def require_modalities(system: str, records: Sequence[ClipRecord]) -> None:
    """Refuse a system that the corpus cannot serve.

    Args:
        system: one of `pipeline.params.SYSTEMS`; its name begins with what it needs.
        records: all usable clips.

    Raises:
        CorpusError: as said.
    """
    lacking = {
        "sound": not all(r.has_audio for r in records) and not system.startswith("visual"),
        "video": not all(r.has_video for r in records) and not system.startswith("audio"),
    }
    for what, lacks in lacking.items():
        if lacks:
            other = "visual_*" if what == "sound" else "audio_*"
            raise CorpusError(
                f"system {system} needs {what}, and clips of this corpus have none; "
                f"use one of the {other} systems or set corpus.modalities"
            )


PAPER_ACCURACY = {
    "audio_cnn": 0.593,
    "audio_wavegram": 0.622,
    "audio_wavegram_logmel": 0.655,
    "visual_cnn": 0.391,
    "visual_cnn_fd": 0.319,
    "visual_faster_rcnn": 0.338,
    "av_dnn": 0.498,
    "av_vaanet": 0.638,
    "av_cnn": 0.593,
    "av_cnn_fd": 0.614,
    "av_faster_rcnn": 0.631,
}
"""By system, in [0, 1]."""

PAPER_TEST_CLIPS = 70
