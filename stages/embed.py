"""Embed the sound of all clips with frozen audio networks and hand-crafted features.

Inputs: 32 kHz sound, `data/clips.csv`. Output: `data/embeddings/<clip id>.safetensors`, one
vector by network or feature name; no file for a clip without sound. Params: `embed`.
"""

import time
from pathlib import Path

from models.audio.embed import embed_all, make_jobs, write_embeddings
from models.audio.params import EmbedParams
from pipeline.clips import read_clips
from pipeline.params import load_section
from pipeline.work.progress import counted, print_summary
from stages.boundary import run


def main(audio: Path, clips: Path, embeddings: Path) -> None:
    """Embed the sound of all clips; see the module's docstring.

    Args:
        audio: folder of 32 kHz mono wavs.
        clips: table of clips.
        embeddings: folder to write.
    """
    started = time.monotonic()
    params = load_section("embed", EmbedParams)
    jobs = make_jobs(read_clips(clips), audio, params)
    products = embed_all(jobs)
    count = write_embeddings(products, embeddings)
    text = f"{counted(count, 'clip')} x {counted(len(params.names), 'embedding')}"
    print_summary("embed", f"{text}, {products.cached} from cache, {params.weights}", started)


if __name__ == "__main__":
    run(main)
