"""Frames with their faces, as the detector is trained and run on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from annotations import voc
from annotations.voc import Box
from models.device import CPU
from models.faces.params import DetectorParams
from pipeline.clips import evenly_shown, frame_name
from pipeline.media.images import Picture, read_image

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]
"""Images [3, H, W] in 0..1 and their targets; see `models.faces.detector.Detector`."""

READERS = 8
"""Processes that read and augment training frames for an accelerator."""

FLIP_PROBABILITY = 0.5
BRIGHTNESS = 0.15
"""Largest shift of the brightness, of the full range."""
CONTRAST = 0.2
"""Largest relative change of the contrast."""

BLUR = (0.01, 0.08)
"""Standard deviation of a corrupting blur, in heights of the face."""
LIGHT = (0.1, 0.6)
"""What a corrupting darkness leaves, of the grey levels."""
COVER = (0.2, 0.5)
"""Width and height of what covers a face, in those of the face."""
GREY = 0.5
"""Its brightness."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A stored frame: its image file, its face (None: no face) and the class index of its clip.

    `label` is 1 + the index of the clip's emotion, or 1 where the detector knows `face` only.
    `clear` is False where the annotation leaves open whether there is a face: the frame then
    neither trains the detector nor scores it. A `difficult` face trains it and does not score it.
    """

    clip_id: str
    index: int
    image: Path
    box: Box | None
    label: int
    clear: bool = True
    difficult: bool = False

    @classmethod
    def read(cls, folder: Path, clip_id: str, index: int, label: int) -> "Frame":
        """A frame with what its annotation says.

        Args:
            folder: `data/voc`.
            clip_id: of the clip.
            index: of the stored frame.
            label: see above.

        Raises:
            AnnotationError: the frame has no annotation, or that of another picture.
        """
        name = frame_name(clip_id, index)
        annotation = voc.read_frame(folder, name)
        face = annotation.speaker_face
        image = folder / "JPEGImages" / f"{name}.jpg"
        box, difficult = (face.box, bool(face.difficult)) if face else (None, False)
        return cls(clip_id, index, image, box, label, annotation.is_clear, difficult)

    @property
    def is_reference(self) -> bool:
        """Whether detections are scored against its annotation."""
        return self.clear and not self.difficult


def sampled_frames(times_s: Sequence[float], count: int) -> list[int]:
    """At most `count` different frames, spread evenly over their time and centred in their part.

    Args:
        times_s: when each frame is shown, ascending; those of a constant rate give `count` frames
            where there are so many.
        count: of frames.
    """
    return sorted(set(evenly_shown(times_s, min(len(times_s), count))))


def image_tensor(picture: Picture, device: torch.device = CPU) -> Tensor:
    """RGB [H, W, 3] uint8 as the detector takes it: [3, H, W] float32 in 0..1, on the device."""
    return torch.from_numpy(picture).to(device).permute(2, 0, 1).float() / 255


def target_of(frame: Frame) -> dict[str, Tensor]:
    """Training target: boxes [N, 4] and labels [N], N = 0 without a face."""
    if frame.box is None:
        return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    box = frame.box
    return {
        "boxes": torch.tensor([[box.x1, box.y1, box.x2, box.y2]], dtype=torch.float32),
        "labels": torch.tensor([frame.label]),
    }


def augment(
    image: Tensor, target: dict[str, Tensor], corrupt: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mirror, brighten and stretch the contrast at random; draws from torch's global generator.

    Args:
        image: [3, H, W] in 0..1.
        target: boxes [N, 4] px and labels [N].
        corrupt: share of the images that are blurred, darkened or partly covered before.

    Returns:
        A new image in 0..1 and its target.
    """
    if corrupt > 0 and torch.rand(()).item() < corrupt:
        image = corrupted(image, target["boxes"])
    flip, brightness, contrast = torch.rand(3).tolist()
    if flip < FLIP_PROBABILITY:
        image, target = mirror(image, target)
    mean = image.mean()
    stretched = (image - mean) * (1 + CONTRAST * (2 * contrast - 1))
    return (stretched + mean + BRIGHTNESS * (2 * brightness - 1)).clamp(0, 1), target


def corrupted(image: Tensor, boxes: Tensor) -> Tensor:
    """Blur, darken or partly cover an image, as the draw has it, in proportion to its face.

    Args:
        image: [3, H, W] in 0..1.
        boxes: [N, 4] px; without one, a third of the image's height stands for the face.

    Returns:
        A new image in 0..1.
    """
    kind, degree, across, down = torch.rand(4).tolist()
    height, width = image.shape[1:]
    left, top, right, bottom = boxes[0].tolist() if len(boxes) else (0.0, 0.0, width, height / 3)
    if kind < 1 / 3:
        sigma = (BLUR[0] + (BLUR[1] - BLUR[0]) * degree) * (bottom - top)
        side = 2 * round(3 * sigma) + 1
        side = min(side, 2 * min(height, width) - 1)  # the border is mirrored
        # imported here: who shows frames to no detector need not wait seconds for torchvision
        from torchvision.transforms.functional import gaussian_blur

        return gaussian_blur(image, [side, side], [max(sigma, 1e-3)])
    if kind < 2 / 3:
        return image * (LIGHT[0] + (LIGHT[1] - LIGHT[0]) * degree)
    share = COVER[0] + (COVER[1] - COVER[0]) * degree
    x, y = (
        round(a + (b - a) * (1 - share) * c)
        for a, b, c in ((left, right, across), (top, bottom, down))
    )
    below, beyond = round(y + share * (bottom - top)), round(x + share * (right - left))
    image = image.clone()
    image[:, max(y, 0) : max(below, 0), max(x, 0) : max(beyond, 0)] = GREY
    return image


def mirror(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Flip left and right; x of a half-open box becomes W - x."""
    x1, y1, x2, y2 = target["boxes"].unbind(1)
    width = image.shape[-1]
    flipped = torch.stack([width - x2, y1, width - x1, y2], dim=1)
    return image.flip(-1), {**target, "boxes": flipped}


class FaceFrames(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Frames as (image, target).

    Args:
        frames: what to read.
        change: augmentation applied to each item.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        change: Callable[[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]] = augment,
    ) -> None:
        self.frames = list(frames)
        self.change = change

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        frame = self.frames[index]
        return self.change(image_tensor(read_image(frame.image)), target_of(frame))


def training_batches(
    frames: Sequence[Frame], batch: int, params: DetectorParams, device: torch.device
) -> DataLoader[Batch]:
    """Shuffled batches, augmented as the section `detector` says; the order is that of its seed.

    For an accelerator other processes read ahead. Each draws augmentations of its own, so that
    their number stands here and is not the machine's.
    """
    return DataLoader(
        FaceFrames(frames, partial(augment, corrupt=params.corrupt)),  # type: ignore[arg-type]
        batch_size=batch,
        shuffle=True,
        generator=torch.Generator().manual_seed(params.seed),
        collate_fn=collate,
        num_workers=0 if device == CPU else READERS,
        pin_memory=device.type == "cuda",
    )


def collate(items: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> Batch:
    """Images differ in size and faces in number: lists, not stacks."""
    return [image for image, _ in items], [target for _, target in items]
