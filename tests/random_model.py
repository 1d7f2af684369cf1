"""A model of `av_faster_rcnn` with random weights, made in seconds, and a clip for it."""

import json
from dataclasses import asdict
from pathlib import Path

import ffmpeg
import torch
from drawn_faces import TINY, draw_face
from torch import nn

from models.checkpoint import save_safetensors
from models.faces.detector_file import save_detector
from models.faces.weights import build_detector
from models.saved_model import PRETRAINED, InputParams, read_card, write_model
from models.systems.params import Settings, Widths
from models.systems.registry import build_network
from pipeline.media.ffmpeg import run_ffmpeg
from pipeline.presets import preset_values

EMOTIONS = ("anger", "happiness")
BRANCHES = ("av", "audio", "visual")
DETECTOR = TINY.model_copy(update={"proposals": 8})


def draw_clip(path: Path, emotion: str = "anger", seed: int = 1) -> Path:
    """Half a second of a drawn face and noise, its sound as models take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = path.with_suffix(".bgr")
    frames.write_bytes(
        b"".join(draw_face(70 + 3 * i, 64, 34, emotion)[0].tobytes() for i in range(12))
    )
    film = ffmpeg.input(frames.name, f="rawvideo", pix_fmt="bgr24", s="160x128", r=24)
    noise = ffmpeg.input(f"anoisesrc=r=32000:d=0.5:a=0.2:seed={seed}", f="lavfi")
    coding = {"c:v": "mjpeg", "q:v": 2, "c:a": "pcm_s16le"}
    run_ffmpeg(ffmpeg.output(film, noise, path.name, **coding), path.parent, "clip")
    frames.unlink()
    return path


def make_model(place: Path) -> Path:
    """Write a model below `place` that hears by the speech encoder alone; its folder."""
    torch.manual_seed(0)
    values = preset_values("demo")
    values["audio"] |= {"embeddings": ["whisper_tiny_en"], "handcrafted": False}
    values["visual"]["speech_weighting"] = False
    values |= {"detector": DETECTOR}
    settings, inputs = (
        Settings.load(values),
        InputParams.model_validate({name: values[name] for name in InputParams.model_fields}),
    )
    detector = build_detector(DETECTOR, EMOTIONS).eval()
    save_detector(place / "detector.safetensors", detector, DETECTOR, ())
    speech = 384 * len(inputs.embed.layers) * len(inputs.embed.statistics)
    widths = Widths(len(EMOTIONS), (speech,), detector.embedding_dim)
    network = build_network("av_faster_rcnn", widths, settings)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    facts = {
        "emotions": EMOTIONS, "branches": BRANCHES, "widths": asdict(widths),
        "pools": {name: {name: 0.2} for name in BRANCHES}, "settings": settings.dump(),
        "training_clips": (),
    }  # fmt: skip
    texts = {name: json.dumps(value) for name, value in facts.items()}
    texts |= {"system": "av_faster_rcnn", "fold": "paper"}
    save_safetensors(place / "network.safetensors", network.state_dict(), texts)
    files = (place / "network.safetensors", place / "detector.safetensors")
    scores = read_card(PRETRAINED).metrics  # of any network; nobody here reads them
    scores = scores.model_copy(update={"confusion": ((1,) * len(EMOTIONS),) * len(EMOTIONS)})
    write_model(place / "model", files, inputs, "demo", scores)
    return place / "model"
