"""Recordings of a corpus to frames and sound.

Inputs: the corpus folder that `corpus.root` names.
Outputs: `clips.csv` (usable clips) with `frames.csv` beside it (when each frame is shown),
`quarantine.csv` (the others, with reasons), the frames, the sound at its native rate, and the
corpus's ground truth per clip where it has one.
Params: `corpus`, `extract`, and `system`, so that one that the corpus cannot serve is refused here.
"""

import time
from pathlib import Path

from pipeline.clips import write_clips, write_quarantine
from pipeline.corpora.corpus import index_corpus
from pipeline.corpora.params import CorpusParams
from pipeline.files import publish
from pipeline.media.decode import FRAMES, SOUND
from pipeline.media.extract import check_quarantine, extract_corpus
from pipeline.media.params import ExtractParams
from pipeline.params import load_section
from pipeline.systems import load_system, readable
from pipeline.work.progress import counted, print_summary
from stages.boundary import run


def main(clips_csv: Path, quarantine_csv: Path, frames: Path, sound: Path, truth: Path) -> None:
    """Index the corpus, decode every clip once, quarantine what cannot be used."""
    started = time.monotonic()
    corpus = load_section("corpus", CorpusParams)
    params = load_section("extract", ExtractParams)
    index = index_corpus(corpus)
    extraction = extract_corpus(index, corpus.modalities, corpus.require, params)
    # first of all, so that it can be read when the stage fails
    write_quarantine(quarantine_csv, extraction.rejects)
    check_quarantine(extraction, params.max_bad_fraction)
    readable(load_system(), extraction.records)

    write_clips(clips_csv, extraction.records)
    products = extraction.products
    products.publish(frames, FRAMES)
    products.publish(sound, SOUND)
    kept = [clip for clip in index.clips if clip.clip_id in products.folders]
    publish(truth, ((f"{clip.clip_id}.csv", clip.truth) for clip in kept if clip.truth))
    records = extraction.records
    print_summary(
        "extract",
        f"{counted(len(records), 'clip')}, {counted(sum(r.frames for r in records), 'frame')}, "
        f"{sum(r.duration_s for r in records) / 60:.1f} min, "
        f"{len(extraction.rejects)} quarantined, {products.cached} from cache",
        started,
    )


if __name__ == "__main__":
    run(main)
