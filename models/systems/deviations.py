"""How each row of the tables deviates from what was published, as phrases for its footnotes.

They follow the settings, so that no row is silent about its own, and rows that deviate alike say it
in the same words.
"""

from collections.abc import Iterator

from models.faces.params import DetectorParams
from models.fusion.params import FusionParams
from models.systems.baselines.params import BaselineParams
from models.systems.params import Settings
from models.systems.registry import inputs_of
from pipeline.systems import SYSTEMS

PUBLISHED_EMBEDDINGS = {"Wavegram_Cnn14", "Wavegram_Logmel_Cnn14"}
PUBLISHED_FRAMES_PX = (800, 1333)
"""Least and greatest side of a frame in Faster R-CNN."""
PUBLISHED_FACES_PX = 96
PUBLISHED_SNIPPET_PX = 112
PUBLISHED_SEGMENTS = (16, 256)
"""Segments of MFCC and their frames in VAANet."""

VIDEO_WORDS = {
    "c3d": "a small 3-D CNN of five layers",
    "mc3_18": "torchvision's mc3_18",
    "r3d_18": "torchvision's r3d_18",
}
IMAGE_WORDS = {"resnet18": "ResNet-18", "resnet50": "ResNet-50"}
BACKBONE_WORDS = {
    "resnet18_light": "a narrow ResNet-18 FPN",
    "mobilenet_v3": "MobileNet v3 FPN",
}
ANNOTATED_FACES = "faces are those of the annotation, in test clips too, not the detector's"
START_WORDS = {"untrained": "from random weights", "imagenet": "from ImageNet's weights"}


def deviations(
    system: str, settings: Settings, detector: DetectorParams, audio_weights: str
) -> tuple[str, ...]:
    """What of a system is not as it was published.

    Args:
        system: a key of `SYSTEMS`.
        settings: the sections that decide how it is trained.
        detector: section `detector`.
        audio_weights: value of `embed.weights`.
    """
    spec, inputs, params = SYSTEMS[system], inputs_of(system, settings), settings.baselines
    found: list[str] = [] if spec.paper else ["not one of the paper's systems"]
    if spec.fuses:
        found += _fusion(settings.fusion, settings.inner_folds.count > 0)
    if spec.can_be_joint and not settings.fusion.joint:
        found.append("the detector learns before the fusion, not with it")
    if "weights" in inputs:
        found += _detector(detector)
        if settings.visual.speech_weighting:
            found.append("frames weighted by visual speech activity")
    if "windows" in inputs:
        found += _dnn(params)
    elif "snippets" in inputs:
        found += _vaanet(params)
    elif "frames" in inputs:
        found += _image_cnn(params, "frames")
    elif "crops" in inputs:
        found += _image_cnn(params, "crops")
    if "waveform" in inputs:
        found.append("the audio network learns with the layers over it, not frozen")
    if {"audio", "waveform"} & {*inputs} and settings.embed.noisy_copies:
        found.append(f"training hears {settings.embed.noisy_copies} copies of each clip in noise")
    if spec.reads_panns:
        found += _audio(settings, audio_weights, spec.fuses)
    if settings.inner_folds.count:
        found.append("probabilities at a temperature fitted on inner folds of the training clips")
    return tuple(text[0].upper() + text[1:] for text in found)


def _fusion(params: FusionParams, calibrated: bool) -> Iterator[str]:
    if params.head == "residual":
        yield "the layers over F = [A, V] correct the sum of the branches' log p"
    if params.pool and calibrated:
        yield "the answer is a pool of network and branches"
    if params.modality_dropout:
        yield f"fusion learns with sound or picture of {params.modality_dropout:.0%} withheld"


def _detector(params: DetectorParams) -> Iterator[str]:
    if params.closer_px:
        yield f"after finding a face the detector looks again at its crop of {params.closer_px} px"
    if params.backbone in BACKBONE_WORDS:
        yield f"{BACKBONE_WORDS[params.backbone]} for ResNet-50 FPN"
    if params.weights != "coco":
        begun = START_WORDS.get(params.weights, "from other weights")
        yield f"the detector begins {begun}, not from COCO's"
    if params.classes == "face":
        yield "the detector is not told the emotions"
    if params.box_loss == "smooth_l1":
        yield "smooth L1 for the box loss with variances"
    if not params.voting:
        yield "no variance voting"
    if params.corrupt:
        yield f"{params.corrupt:.0%} of the pictures that train the detector are damaged"
    if (params.min_size_px, params.max_size_px) != PUBLISHED_FRAMES_PX:
        published = " to ".join(map(str, PUBLISHED_FRAMES_PX))
        yield f"frames of {params.min_size_px} to {params.max_size_px} px for {published} px"


def _audio(settings: Settings, weights: str, fuses: bool) -> Iterator[str]:
    if weights == "untrained":
        yield "PANNs with random weights for those trained on AudioSet"
    if fuses and set(settings.audio.embeddings) != PUBLISHED_EMBEDDINGS:
        yield f"embeddings of {' and '.join(settings.audio.embeddings)} alone"
    if not settings.audio.handcrafted:
        yield "no hand-crafted sound features"


def _image_cnn(params: BaselineParams, pictures: str) -> Iterator[str]:
    yield f"{_image_net(params)} for the image CNN, which the paper does not name"
    what = {"frames": "whole frames", "crops": "face crops"}[pictures]
    yield f"{what} of {params.picture_px(pictures)} px, a size that the paper does not state"
    if pictures == "crops":
        yield ANNOTATED_FACES
    yield from _augmentation(params)


def _dnn(params: BaselineParams) -> Iterator[str]:
    if (params.image_net, params.weights, params.trunk) != ("resnet50", "published", "trained"):
        yield f"{_image_net(params)} for ResNet-50 trained on ImageNet"
    if params.face_px != PUBLISHED_FACES_PX:
        yield f"face crops of {params.face_px} px for {PUBLISHED_FACES_PX} px"
    yield ANNOTATED_FACES
    yield "one face crop and a third of the sound's steps of a clip in each training step"
    yield from _augmentation(params)


def _vaanet(params: BaselineParams) -> Iterator[str]:
    if params.weights == "published" and params.video_net != "c3d":
        state = f"from Kinetics' weights{_held(params)}"
    else:
        state = START_WORDS["untrained"]
    yield f"{VIDEO_WORDS[params.video_net]} {state} for a frozen 3-D ResNet-101 trained on Kinetics"
    if params.weights == "untrained":
        yield "ResNet-18 for sound from random weights for ImageNet's"
    if params.snippet_px != PUBLISHED_SNIPPET_PX:
        yield f"snippets of {params.snippet_px} px for {PUBLISHED_SNIPPET_PX} px"
    segments = (params.segments, params.segment_frames)
    if segments != PUBLISHED_SEGMENTS:
        ours, theirs = (f"{n} segments of {f}" for n, f in (segments, PUBLISHED_SEGMENTS))
        yield f"{ours} MFCC frames for {theirs}"
    yield from _augmentation(params)


def _image_net(params: BaselineParams) -> str:
    """The image network and where it begins."""
    name = IMAGE_WORDS[params.image_net]
    if params.weights == "untrained":
        return f"{name} {START_WORDS['untrained']}"
    return f"{name} {START_WORDS['imagenet']}{_held(params)}"


def _held(params: BaselineParams) -> str:
    return ", kept as it is," if params.trunk == "frozen" else ""


def _augmentation(params: BaselineParams) -> Iterator[str]:
    """A frozen network sees its pictures as they are."""
    if params.trunk == "trained":
        yield "pictures are changed at random in training as the detector's are"
