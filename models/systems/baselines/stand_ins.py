"""What stands in for the published networks of a system, as sentences for the tables."""

from models.systems.baselines.params import BaselineParams

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


def stand_ins(system: str, params: BaselineParams) -> tuple[str, ...]:
    """What a system has in place of its published parts, as sentences for the tables.

    Systems that do not read the section have none.
    """
    if system in ("visual_cnn", "visual_cnn_fd", "av_cnn", "av_cnn_fd"):
        return _cnn(params)
    if system == "av_dnn":
        return _dnn(params)
    if system == "av_vaanet":
        return _vaanet(params)
    return ()


def _cnn(params: BaselineParams) -> tuple[str, ...]:
    state = "pretrained on ImageNet, frozen" if params.weights == "published" else "untrained"
    net = IMAGE_WORDS[params.image_net]
    return (f"{net}, {state}, for the image CNN, which the paper does not name.",)


def _dnn(params: BaselineParams) -> tuple[str, ...]:
    sentences = []
    if (params.image_net, params.weights) != ("resnet50", "published"):
        state = "pretrained on ImageNet" if params.weights == "published" else "untrained"
        net = IMAGE_WORDS[params.image_net]
        sentences.append(f"{net}, {state}, instead of ResNet-50 pretrained on ImageNet.")
    if params.face_px != PUBLISHED_FACES_PX:
        sentences.append(f"Face crops of {params.face_px} px instead of {PUBLISHED_FACES_PX} px.")
    return tuple(sentences)


def _vaanet(params: BaselineParams) -> tuple[str, ...]:
    published = params.weights == "published" and params.video_net != "c3d"
    state = "pretrained on Kinetics-400" if published else "untrained"
    net = VIDEO_WORDS[params.video_net]
    sentences = [f"{net}, {state}, instead of the 3-D ResNet-101 pretrained on Kinetics."]
    if params.weights == "untrained":
        sentences.append("ResNet-18 for sound, untrained, instead of pretrained on ImageNet.")
    if params.snippet_px != PUBLISHED_SNIPPET_PX:
        sentences.append(
            f"Snippets of {params.snippet_px} px instead of {PUBLISHED_SNIPPET_PX} px."
        )
    if (params.segments, params.segment_frames) != PUBLISHED_SEGMENTS:
        sentences.append(
            f"{params.segments} segments of {params.segment_frames} MFCC frames instead of "
            f"{PUBLISHED_SEGMENTS[0]} of {PUBLISHED_SEGMENTS[1]}."
        )
    return tuple(sentence[0].upper() + sentence[1:] for sentence in sentences)
