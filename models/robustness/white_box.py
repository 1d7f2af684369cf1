"""The network's answer as a differentiable function of the sound and of the frames with faces.

A gradient does not reach all that decides an answer. Held as they are for the clean clip: which
frames are looked at, the detector's proposals and boxes, the frames' weights by speech activity,
which dlib's boxes give. What is followed: sound through its networks and cepstra, as
`models.export` restates them; frames through the detector's features of the face in its box.
The attacked clip is then answered by the model as it is, with nothing held.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.audio.weights import load_network
from models.export.sound import sound_graph
from models.recognition.faces import Looked
from models.recognition.inputs import OF_SOUND
from models.recognition.recognizer import Recognizer
from models.robustness.attacks import Inputs, Loss
from models.robustness.conditions import Part
from models.systems.inputs import HANDCRAFTED
from pipeline.media.sound import SAMPLE_RATE_HZ

FOLLOWED = {"sound": {"audio", "handcrafted", "waveform"}, "picture": {"faces"}}
"""Inputs of the network through which the gradient reaches a part of the clip."""

HELD = {"weights"}
"""Inputs of the picture that are held."""


def unfollowed(recognizer: Recognizer, part: Part) -> list[str]:
    """Inputs of a part that no gradient is known of: such a model is not attacked there."""
    own = {name for name in recognizer.reads if (name in OF_SOUND) == (part == "sound")}
    return sorted(own - FOLLOWED[part] - HELD)


class WhiteBox:
    """A model whose loss can be differentiated.

    Args:
        recognizer: the model.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        blocks = {"audio": recognizer.audio_blocks, "handcrafted": dict.fromkeys(HANDCRAFTED)}
        self._ears = {
            name: [
                sound_graph(key, load_network(weights) if weights else None).eval()
                for key, weights in blocks[name].items()
            ]
            for name in blocks.keys() & set(recognizer.reads)
        }

    def loss(self, label: int, branch: str, looked: Looked, clean: Mapping[str, Tensor]) -> Loss:
        """-log p of the true emotion as a function of `sound` and `picture`, or of either.

        Args:
            label: index of the emotion.
            branch: that answers.
            looked: what is seen in the clean clip.
            clean: what the branch reads of it.
        """

        def loss(inputs: Inputs) -> Tensor:
            now = dict(clean)
            if "sound" in inputs:
                heard = self._heard(inputs["sound"])
                now |= {name: values for name, values in heard.items() if name in clean}
            if "picture" in inputs:
                now["faces"] = self._faces(inputs["picture"], looked)
            p = self.recognizer.probabilities(branch, now)[label]
            return -torch.log(p.clamp_min(torch.finfo(p.dtype).tiny))  # beyond, it stands still

        return loss

    def _heard(self, sound: Tensor) -> dict[str, Tensor]:
        # an encoder of speech hears one window: of longer sound its beginning is attacked
        heard = {
            name: torch.cat([ear(sound[: ear.longest_s * SAMPLE_RATE_HZ]) for ear in ears])
            for name, ears in self._ears.items()
        }
        return {"waveform": sound, **heard}

    def _faces(self, pictures: Tensor, looked: Looked) -> Tensor:
        detector = self.recognizer.detector
        assert detector is not None
        faced = torch.tensor([looked.faces[index].box is not None for index in looked.chosen])
        found = [looked.detections[index].boxes[0] for index in faced_frames(looked)]
        features = pictures.new_zeros(len(faced), detector.embedding_dim)
        features[faced] = detector.face_features(list(pictures), torch.stack(found))
        return features


def faced_frames(looked: Looked) -> list[int]:
    """Which frames are attacked: those that are looked at and show a face."""
    return [index for index in looked.chosen if looked.faces[index].box is not None]
