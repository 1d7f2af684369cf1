"""The face detector: torchvision's Faster R-CNN with a head that knows its own uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.transform import resize_boxes

from models.faces.closer_look import crop, jittered_squares, square_around, within
from pipeline.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Detections:
    """Faces of one image, best first; N = 0 where no score passes `detector.score_threshold`.

    Attributes:
        boxes: [N, 4] px of the image, half-open corners.
        log_var: log variance of each corner coordinate [N, 4], log px^2.
        scores: 1 - p(background) [N].
        probs: probability of background and each class [N, K+1].
        features: the head's penultimate layer, pooled from `boxes` [N, D].
    """

    boxes: Tensor
    log_var: Tensor
    scores: Tensor
    probs: Tensor
    features: Tensor


class Detector(nn.Module):
    """Faster R-CNN with box variances.

    Images are a list of float tensors [3, H, W] in 0..1, RGB, where the network lies. Targets are a
    list of one dict an image: `boxes` FloatTensor[N, 4] as (x1, y1, x2, y2) in px of that image,
    half-open, 0 <= x1 < x2 <= W, 0 <= y1 < y2 <= H; `labels` Int64Tensor[N] in 1..K (1 + index in
    `classes`). An image without a face has boxes [0, 4] and labels [0].

    Args:
        net: the assembled network; its `roi_heads` are `UncertainRoIHeads`.
        classes: names of the classes, without the background.
        box_weight: lambda of Eq. (2).
        closer_px: side of the crop of a closer look; 0 looks once.
    """

    def __init__(
        self, net: FasterRCNN, classes: Sequence[str], box_weight: float, closer_px: int
    ) -> None:
        super().__init__()
        self.net = net
        self.closer_px = closer_px
        self.classes = tuple(classes)
        self.loss_weights = {
            "objectness": 1.0,
            "proposal": 1.0,
            "class": 1.0,
            "box": box_weight,
            "closer": 1.0,
        }
        """Weight of each of `losses` in L_v."""

    @property
    def embedding_dim(self) -> int:
        """D, the width of `features`."""
        return int(self.net.roi_heads.box_predictor.deltas.in_features)

    def learn_variances(self, learn: bool) -> None:
        """Train box variances with the KL loss, or hold them at 1: smooth L1."""
        self.net.roi_heads.learn_variances(learn)

    def vote(self, sigma_t: float | None) -> None:
        """Set the width of variance voting; None is NMS alone."""
        self.net.roi_heads.vote(sigma_t)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Same as `losses`: training wrappers call the module itself."""
        return self.losses(images, targets)

    def losses(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Named scalar losses; L_v is their weighted sum.

        Returns:
            `objectness` and `proposal` of the region proposals, `class` and `box` of the head, and
            `closer`, see `closer_loss`.

        Raises:
            TrainingError: the module is in eval mode, where proposals have no loss.
        """
        if not self.training:
            raise TrainingError("detector: losses exist in training mode only; call .train()")
        found = self.net(images, targets)
        return {
            "objectness": found["loss_objectness"],
            "proposal": found["loss_rpn_box_reg"],
            "class": found["class"],
            "box": found["box"],
            "closer": self.closer_loss(images, targets),
        }

    def closer_loss(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        """Cross-entropy of the classes in a closer look at the first face of each image.

        Returns:
            Scalar; 0 where no image has a face or `closer_px` is 0.
        """
        faced = [i for i, target in enumerate(targets) if len(target["labels"]) > 0]
        if self.closer_px == 0 or not faced:
            return images[0].new_zeros(())
        boxes = torch.stack([targets[i]["boxes"][0] for i in faced])
        labels = torch.stack([targets[i]["labels"][0] for i in faced])
        crops = [images[i] for i in faced]
        features = self._embed_crops(crops, boxes, jittered_squares(boxes))
        return nn.functional.cross_entropy(self.class_logits(features), labels)

    @torch.no_grad()
    def detect(self, images: list[Tensor]) -> list[Detections]:
        """Find the faces of each image, on the processor; the module must be in eval mode."""
        if self.training:
            raise TrainingError("detector: detections exist in eval mode only; call .eval()")
        heads = self.net.roi_heads
        resized, _ = self.net.transform(images)
        maps = self.net.backbone(resized.tensors)
        proposals, _ = self.net.rpn(resized, maps)
        looked, _ = heads(maps, proposals, resized.image_sizes)
        boxes = [rows["boxes"] for rows in looked]
        features = heads.embed(maps, boxes, resized.image_sizes).split([len(b) for b in boxes])
        first = [
            _in_image_px(rows, part, size, (image.shape[-2], image.shape[-1]))
            for rows, part, size, image in zip(
                looked, features, resized.image_sizes, images, strict=True
            )
        ]
        found = self._with_closer_look(images, first) if self.closer_px else first
        return [_on_the_processor(faces) for faces in found]

    def best_face(self, faces: Detections) -> Detections:
        """The best face of an image as the one row; zeros, the score too, where it has none."""
        if len(faces.scores) > 0:
            parts = (faces.boxes, faces.log_var, faces.scores, faces.probs, faces.features)
            return Detections(*(part[:1] for part in parts))
        classes, width = len(self.classes) + 1, self.embedding_dim
        return Detections(
            *(torch.zeros(1, *size) for size in ((4,), (4,), (), (classes,), (width,)))
        )

    def face_features(self, images: list[Tensor], boxes: Tensor) -> Tensor:
        """Differentiable features [B, D] of one face an image, as `detect` gives of the best.

        Args:
            images: as in the class docstring, B of them.
            boxes: px, [B, 4].
        """
        if self.closer_px:
            return self._embed_crops(images, boxes, square_around(boxes))
        return self.features(images, list(boxes.unsqueeze(1)))

    def _with_closer_look(self, images: list[Tensor], first: list[Detections]) -> list[Detections]:
        """The same, with features and class of each image's best face from a closer look."""
        faced = [i for i, faces in enumerate(first) if len(faces.scores) > 0]
        if not faced:
            return first
        boxes = torch.stack([first[i].boxes[0] for i in faced])
        features = self.face_features([images[i] for i in faced], boxes)
        shares = self.class_logits(features)[:, 1:].softmax(dim=1)
        closer = dict(zip(faced, zip(features, shares, strict=True), strict=True))
        return [
            _of_closer_look(faces, *closer[i]) if i in closer else faces
            for i, faces in enumerate(first)
        ]

    def _embed_crops(self, images: list[Tensor], boxes: Tensor, squares: Tensor) -> Tensor:
        crops = crop(images, squares, self.closer_px)
        maps = self.net.backbone(self.net.transform.normalize(crops))
        inside = list(within(boxes, squares, self.closer_px).unsqueeze(1))
        sizes = [(self.closer_px, self.closer_px)] * len(images)
        embedding: Tensor = self.net.roi_heads.embed(maps, inside, sizes)
        return embedding

    def features(self, images: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Differentiable RoI features of given boxes.

        Args:
            images: as in the class docstring, B of them.
            boxes: px of each image, [N_i, 4].

        Returns:
            The head's penultimate layer [sum N_i, D], in order.
        """
        resized, targets = self.net.transform(images, [{"boxes": b} for b in boxes])
        maps = self.net.backbone(resized.tensors)
        within = [target["boxes"] for target in targets]
        embedding: Tensor = self.net.roi_heads.embed(maps, within, resized.image_sizes)
        return embedding

    def class_logits(self, features: Tensor) -> Tensor:
        """Logits of background and classes [N, K+1] from features [N, D]."""
        logits: Tensor = self.net.roi_heads.box_predictor.class_logits(features)
        return logits


def _on_the_processor(faces: Detections) -> Detections:
    return Detections(
        faces.boxes.cpu(),
        faces.log_var.cpu(),
        faces.scores.cpu(),
        faces.probs.cpu(),
        faces.features.cpu(),
    )


def _of_closer_look(faces: Detections, features: Tensor, share: Tensor) -> Detections:
    """Features [D] and shares of the classes [K] for the first face."""
    probs = torch.cat([faces.probs[0, :1], faces.scores[0] * share])
    return replace(
        faces,
        features=torch.cat([features[None], faces.features[1:]]),
        probs=torch.cat([probs[None], faces.probs[1:]]),
    )


def _in_image_px(
    rows: dict[str, Tensor], features: Tensor, resized: tuple[int, int], size: tuple[int, int]
) -> Detections:
    """Undo the resizing: boxes scale by the ratio of sizes, variances by its square."""
    height, width = size[0] / resized[0], size[1] / resized[1]
    log_ratio = torch.log(rows["boxes"].new_tensor([width, height, width, height]))
    return Detections(
        resize_boxes(rows["boxes"], resized, size),
        rows["log_var"] + 2 * log_ratio,
        rows["scores"],
        rows["probs"],
        features,
    )
