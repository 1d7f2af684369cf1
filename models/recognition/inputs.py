"""The inputs of a network from a window: the values that `models.systems` reads from products."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from annotations.box import Box
from models.audio.compact import heard_logmel
from models.audio.embed import embed_waveform
from models.audio.weights import Weights
from models.expressions.embed import embed_clip
from models.expressions.encoders import FerEncoder, ImageClassifier
from models.fusion.branches import frame_weights
from models.recognition.faces import Looked
from models.recognition.windows import Window
from models.systems.baselines.inputs import (
    SNIPPET_FRAMES,
    as_snippets,
    cepstra,
    face_crop,
    grey_face,
    resized,
    sound_windows,
    trunk_features,
)
from models.systems.inputs import HANDCRAFTED
from models.systems.params import Settings
from pipeline.media.images import Picture, read_image

if TYPE_CHECKING:
    from models.faces.detector import Detector

OF_SOUND = frozenset({"audio", "handcrafted", "waveform", "logmel", "windows", "cepstra"})
OF_FACES = frozenset({"faces", "expressions", "crops"})
"""Names of inputs by what they need; others need the whole frames."""


@dataclass(frozen=True)
class InputReader:
    """Computes inputs by name.

    Attributes:
        settings: of the system.
        audio: what lies side by side in the input `audio`: weights by network, None for a feature.
        detector: of faces, where the system reads its features.
        encoders: frozen expression encoders, where the system reads them.
        trunk: that comes before the network where its features are inputs, else None.
    """

    settings: Settings
    audio: Mapping[str, Weights | None]
    detector: "Detector | None"
    encoders: Sequence[FerEncoder | ImageClassifier]
    trunk: nn.Module | None

    def read(self, name: str, window: Window, looked: Looked) -> Tensor:
        """One input of the network, without a batch dimension.

        Args:
            name: of the input.
            window: that has what the input needs.
            looked: what the window shows.
        """
        base, frames, wave = self.settings.baselines, window.frames, window.waveform
        if name == "audio" and wave is not None:
            return torch.cat([embed_waveform(wave, *block) for block in self.audio.items()])
        if name == "handcrafted" and wave is not None:
            return torch.cat([embed_waveform(wave, key, None) for key in HANDCRAFTED])
        if name == "waveform" and wave is not None:
            return torch.from_numpy(wave)
        if name == "logmel" and wave is not None:
            return heard_logmel(torch.from_numpy(wave))
        if name == "windows" and wave is not None:
            return sound_windows(wave, base.windows)
        if name == "cepstra" and wave is not None:
            return cepstra(wave, base.segments, base.segment_frames)
        if name == "expressions":
            return self._expressions(frames, looked)
        if name == "faces":
            return self._features(looked)
        if name == "weights":
            return self._weights(looked)
        count = base.snippets * SNIPPET_FRAMES if name == "snippets" else base.frames
        size_px = base.snippet_px if name == "snippets" else base.picture_px(name)
        pictures = resized(_picture(name, frames, looked), window.times_s, count, size_px)
        if name == "snippets":
            pictures = as_snippets(pictures, base.snippets)
        return pictures if self.trunk is None else trunk_features(self.trunk, pictures)

    def _expressions(self, frames: Sequence[Path], looked: Looked) -> Tensor:
        """What each frozen encoder says of the faces that the detector found, side by side."""
        corners = [looked.faces[index].box for index in looked.chosen]
        shown = [
            (read_image(frames[index]), Box(*box) if box else None)
            for index, box in zip(looked.chosen, corners, strict=True)
        ]
        margin = self.settings.faces.margin
        return torch.cat([embed_clip(one, shown, margin) for one in self.encoders], dim=1)

    def _features(self, looked: Looked) -> Tensor:
        assert self.detector is not None
        detections = [looked.detections[index] for index in looked.chosen]
        return torch.cat([self.detector.best_face(one).features for one in detections])

    def _weights(self, looked: Looked) -> Tensor:
        visible = torch.tensor([len(looked.detections[i].scores) > 0 for i in looked.chosen])
        speech = torch.tensor([looked.speech[index] for index in looked.chosen])
        return frame_weights(speech, visible, self.settings.visual.silent_weight)


def _picture(name: str, frames: Sequence[Path], looked: Looked) -> Any:
    def whole(index: int) -> Picture:
        return read_image(frames[index])

    def crop(index: int) -> Picture:
        face = face_crop(whole, looked.boxes.__getitem__, len(frames), index)
        return grey_face() if face is None else face

    return crop if name == "crops" else whole
