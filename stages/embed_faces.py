"""Embed the faces that the detectors found with frozen expression encoders.

Inputs: `data/voc`, `data/face_features`. Output: `data/face_embeddings/<fold>.safetensors`, of each
clip one vector per frame and encoder. Params: `faces`.
"""

import time
from pathlib import Path

from models.expressions.embed import embed_all
from models.expressions.params import FacesParams
from pipeline.params import load_section
from pipeline.work.integrity import require_frames
from pipeline.work.progress import counted, print_summary
from stages.boundary import run


def main(voc: Path, face_features: Path, face_embeddings: Path) -> None:
    """Embed the faces that the detectors found with frozen expression encoders.

    Args:
        voc: frames, `data/voc`.
        face_features: what the detector of each fold found.
        face_embeddings: folder to write.
    """
    started = time.monotonic()
    params = load_section("faces", FacesParams)
    require_frames(voc)
    products = embed_all(face_features, voc, face_embeddings, params)
    count = counted(len(products.folders), "embedding")
    print_summary("embed_faces", f"{count}, {products.cached} from cache", started)


if __name__ == "__main__":
    run(main)
