"""A store of clips drawn in flat colours, with sound, annotations and audio embeddings."""

import cv2
import numpy as np
import soundfile
import torch
from safetensors.torch import save_file

from annotations import voc
from models.systems.inputs import Store
from pipeline.clips import ClipRecord, frame_name

FRAMES, WIDTH, HEIGHT = 5, 48, 32
BOX = voc.Box(8.0, 4.0, 24.0, 20.0)


def draw_store(folder, emotions, faces, seconds):
    """Clips by id: their emotion, the stored frames that have a face, their length."""
    for name in ("voc/JPEGImages", "voc/Annotations", "audio32k", "embeddings"):
        (folder / name).mkdir(parents=True)
    records = []
    for number, (clip_id, emotion) in enumerate(emotions.items()):
        samples = int(32_000 * seconds[clip_id])
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / 32_000)
        path = folder / "audio32k" / f"{clip_id}.wav"
        soundfile.write(path, tone.astype(np.float32), 32_000, subtype="FLOAT")
        embedding = {"Wavegram_Logmel_Cnn14": torch.randn(6, generator=_seeded(number))}
        save_file(embedding, folder / "embeddings" / f"{clip_id}.safetensors")
        for index in range(FRAMES):
            _draw(folder / "voc", frame_name(clip_id, index), index, index in faces[clip_id])
        size = (FRAMES, 25.0, 1, WIDTH, HEIGHT, samples, 32_000)
        records.append(ClipRecord(clip_id, "A", emotion, "", *size))
    return Store(tuple(records), folder, folder)


def _draw(folder, name, index, has_face):
    """A frame of one grey value, its face another."""
    picture = np.full((HEIGHT, WIDTH, 3), 40 * index, np.uint8)
    picture[4:20, 8:24] = 255 - 40 * index
    cv2.imwrite(str(folder / "JPEGImages" / f"{name}.jpg"), picture)
    passer_by = voc.FaceObject(voc.Box(0.0, 0.0, 48.0, 32.0), primary=False)
    face = (voc.FaceObject(BOX),) if has_face else ()
    voc.write(
        folder / "Annotations" / f"{name}.xml",
        voc.Annotation(f"{name}.jpg", WIDTH, HEIGHT, (passer_by, *face)),
    )


def _seeded(seed):
    return torch.Generator().manual_seed(seed)
