"""The embedded demo corpus: procedural talking heads with emotional prosody, in SAVEE's layout.

    AudioData/DC/a01.wav          the voice, as synthesised
    AudioVisualClip/DC/a01.avi    motion JPEG and the same sound
    truth/DC_a01.csv              face box, mouth opening and speech of every frame

A clip depends on the seed, its speaker, emotion and take, and on nothing else: more takes or
speakers change no other clip. Nothing here says anything about people.
"""

from dataclasses import dataclass
from pathlib import Path

import soundfile

from pipeline.corpora.demo.cast import SPEAKERS
from pipeline.corpora.demo.film import TRUTH_COLUMNS, encode, film, pose, truth_rows
from pipeline.corpora.demo.params import DemoParams
from pipeline.corpora.demo.plan import CODES, Performance, Variation, perform
from pipeline.corpora.demo.score import compose
from pipeline.corpora.demo.voice import synthesise
from pipeline.errors import MediaError
from pipeline.files import replace_folder, write_table
from pipeline.work.cache import ClipCache, Job, Products


@dataclass(frozen=True, slots=True)
class Order:
    """One clip to make: a take and its format; `length_s` is the shortest and the longest."""

    play: Performance
    length_s: tuple[float, float]
    size_px: tuple[int, int]
    fps: int
    rate_hz: int


def orders(params: DemoParams) -> list[Order]:
    """All clips of a corpus: every speaker shows every emotion `takes` times."""
    variation = Variation(params.seed, params.ambiguity)
    length_s, size_px = (params.min_s, params.max_s), (params.width_px, params.height_px)
    return [
        Order(
            perform(speaker, emotion, take, variation),
            length_s,
            size_px,
            params.fps,
            params.rate_hz,
        )
        for speaker in SPEAKERS[: params.speakers]
        for emotion in CODES
        for take in range(1, params.takes + 1)
    ]


def build(out: Path, params: DemoParams) -> Products:
    """Make the corpus in `out`, clip by clip through the clip cache.

    Args:
        out: folder to replace.
        params: section `demo`.

    Raises:
        MediaError: a clip could not be encoded.
    """
    jobs = [Job(clip_id(order.play), order) for order in orders(params)]
    products = ClipCache("demo", make_clip).run(jobs, "demo").complete(MediaError)
    products.publish(out)
    return products


def build_nothing(out: Path, corpus: str) -> None:
    """Stand in for the corpus where another one is used: a folder with a note."""
    with replace_folder(out) as part:
        (part / "README.txt").write_text(
            f"The demo corpus was not made: params.yaml says corpus.name: {corpus}.\n"
            "It is made where corpus.name is demo.\n",
            encoding="utf-8",
        )


def clip_id(play: Performance) -> str:
    """Speaker and file stem, e.g. `DC_sa01`."""
    return f"{play.speaker.name}_{play.name}"


def make_clip(order: Order, folder: Path) -> None:
    """Write sound, video and truth of one clip into `folder`.

    Raises:
        MediaError: ffmpeg failed.
    """
    play, size_px = order.play, order.size_px
    score = compose(play, order.length_s, float(order.fps))
    speaker, name = play.speaker.name, play.name
    sound = folder / "AudioData" / speaker / f"{name}.wav"
    video = folder / "AudioVisualClip" / speaker / f"{name}.avi"
    truth = folder / "truth" / f"{speaker}_{name}.csv"
    for path in (sound, video, truth):
        path.parent.mkdir(parents=True)
    soundfile.write(sound, synthesise(play, score, order.rate_hz), order.rate_hz)
    heads = pose(play, score, size_px)
    encode(video, sound, film(play, heads, size_px), size_px, order.fps)
    write_table(truth, TRUTH_COLUMNS, truth_rows(play, score, heads, size_px))
