"""Sound of any rate and any number of channels to 32 kHz mono.

Inputs: the folder of native sound, `clips.csv`.
Outputs: one float WAV of exact length per clip that has sound.
Params: `resample`.
"""

import time
from importlib.metadata import version
from pathlib import Path

from pipeline.clips import read_clips
from pipeline.errors import CorpusError
from pipeline.media.params import ResampleParams
from pipeline.media.sound import ResampleJob, resample_clip
from pipeline.params import load_section
from pipeline.work.cache import ClipCache, Job
from pipeline.work.progress import counted, print_summary
from stages.boundary import run


def main(sound: Path, clips_csv: Path, out: Path) -> None:
    """Resample the sound of every clip once."""
    started = time.monotonic()
    params = load_section("resample", ResampleParams)
    clips = [record for record in read_clips(clips_csv) if record.has_audio]
    sources = {record.clip_id: sound / f"{record.clip_id}.wav" for record in clips}
    found = {path.stem for path in sound.glob("*.wav")}
    if found != sources.keys():
        odd = sorted(found ^ sources.keys())
        raise CorpusError(
            f"{sound}: {len(odd)} clips do not join with {clips_csv}, the first is {odd[0]}; run "
            "`dvc repro --force extract`"
        )
    cache = ClipCache("resample", resample_clip, facts={"version": version(params.method)})
    jobs = [Job(clip_id, ResampleJob(source, params)) for clip_id, source in sources.items()]
    products = cache.run(jobs, "resample").complete(CorpusError)
    products.publish(out)
    seconds = sum(record.duration_s for record in clips)
    print_summary(
        "resample",
        f"{counted(len(clips), 'clip')}, {seconds / 60:.1f} min, {products.cached} from cache",
        started,
    )


if __name__ == "__main__":
    run(main)
