"""Our parts beside what else would do the same, on the same clips in one run, on the processor.

    python -c 'from benchmarks.rivals import main; main()'

So, and not as a module: each worker process imports the main module again, and would import all of
this one, where in a run it imports a stage's few lines. Each figure is the median of `REPEATS`
after one to warm up; it writes `results.md` beside this file. `benchmarks.gpu` has the networks on
an accelerator, `benchmarks.pipeline` what users wait for.
"""

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import dlib
import numpy as np
import torch
from torchvision.models.detection import FasterRCNN

from annotations.faces.annotate import annotate_clips
from annotations.params import AnnotateParams
from annotations.voc import read
from benchmarks.demo_seeds import make_corpus
from benchmarks.pipeline import RESULTS
from models.audio.embed import embed_all, embed_waveform, make_jobs
from models.audio.front_end import RATE_HZ
from models.audio.panns import build
from models.audio.params import EmbedParams
from models.checkpoint import save_safetensors
from models.device import CPU
from models.faces.backbones import build_backbone
from models.faces.frames import Frame, training_batches
from models.faces.params import DetectorParams
from models.faces.train import train_detector
from models.recognition.recognizer import Recognizer
from models.saved_model import PRETRAINED
from models.systems.evaluate import run_folds
from models.systems.inputs import Store
from models.systems.params import Settings
from pipeline.clips import ClipRecord, Index, read_clips
from pipeline.corpora.corpus import index_corpus
from pipeline.corpora.params import CorpusParams
from pipeline.files import write_table
from pipeline.media.extract import extract_corpus
from pipeline.media.ffmpeg import find_ffmpeg
from pipeline.media.images import read_image
from pipeline.media.params import ExtractParams, Method
from pipeline.media.sound import read_wav, read_waveform, resample, to_mono, write_wav
from pipeline.params import load_section
from pipeline.splits import SplitParams, all_inner_folds, make_folds
from tests.panns_reference import panns_inference

REPEATS = 5
WORKERS = 2
METHODS: tuple[Method, Method] = ("soxr", "resampy")
CLIPS = 28
"""Clips of the demo corpus on which slow rivals are timed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: seconds of ours and of a rival on the same work, and what is aimed at.

    `target` is the least ratio of the rival's time to ours; where `at_most`, the greatest of ours
    to the rival's.
    """

    what: str
    rival: str
    ours_s: float
    rival_s: float
    target: float
    at_most: bool = False

    @property
    def ratio(self) -> float:
        """What `target` is said of."""
        return self.ours_s / self.rival_s if self.at_most else self.rival_s / self.ours_s

    def line(self) -> str:
        """The row as Markdown."""
        met = self.ratio <= self.target if self.at_most else self.ratio >= self.target
        aim = f"{'at most' if self.at_most else 'at least'} {self.target:g} x"
        return (
            f"| {self.what} | {self.rival} | {self.ours_s:.3f} | {self.rival_s:.3f} | "
            f"{self.ratio:.2f} x | {aim} | {'yes' if met else '**no**'} |"
        )


def median_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds of one call."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return sorted(times)[repeats // 2]


def cpu_name() -> str:
    """What the processor calls itself, as far as the system tells."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


_caches = count()


def begin_cache() -> None:
    """Take a clip cache in which nothing is known, so that all is computed."""
    os.environ["AVEMO_CACHE"] = str(Path.cwd() / f"cache{next(_caches)}")


def extract() -> Iterator[Row]:
    index, params = (
        index_corpus(load_section("corpus", CorpusParams)),
        load_section("extract", ExtractParams),
    )

    def ours() -> None:
        begin_cache()
        extract_corpus(index, "av", "any", params)

    def alone(clip: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            command: list[object] = [find_ffmpeg().executable, "-nostdin", "-v", "error"]
            command += ["-i", clip.video, "-i", clip.audio]
            command += ["-map", "0:v", "-vf", rf"select=not(mod(n\,{params.frame_step}))"]
            command += ["-fps_mode", "passthrough", "-q:v", params.jpeg_quality, "-threads", 1]
            command += [f"{folder}/%05d.jpg", "-map", "1:a", "-c:a", "pcm_s16le"]
            subprocess.run([str(one) for one in [*command, f"{folder}/a.wav"]], check=True)

    def rival() -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(alone, index.clips))

    what = f"`extract`, {len(index.clips)} clips, {WORKERS} processes"
    yield Row(
        what, "bare ffmpeg, one pass, as many at once", median_s(ours), median_s(rival), 1.15, True
    )


def added(known: int) -> Iterator[Row]:
    """A clip that joins others which are in the cache: sound of 0.3 s.

    With 10,000 others, a quarter of an hour, call it alone.
    """
    generator, folder = np.random.default_rng(0), Path(f"many{known}")
    for number in range(known + REPEATS + 1):
        place = folder / ("happiness", "anger")[number % 2] / f"{number:05d}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_wav(place, generator.normal(0, 0.1, 9_600).astype(np.float32), RATE_HZ)
    section = load_section("corpus", CorpusParams).model_copy(
        update={"name": "folder", "root": folder, "modalities": "audio"}
    )
    index, params = index_corpus(section), load_section("extract", ExtractParams)
    singles = iter(index.clips)

    def one() -> None:
        begin_cache()
        extract_corpus(Index([next(singles)], []), "audio", "any", params)

    alone_s = median_s(one)
    begin_cache()
    extract_corpus(Index(index.clips[:known], []), "audio", "any", params)
    more = count(known + 1)
    ours_s = median_s(
        lambda: extract_corpus(Index(index.clips[: next(more)], []), "audio", "any", params)
    )
    yield Row(f"one clip added to {known:,}", "one clip alone", ours_s, alone_s, 3, True)


def sound() -> Iterator[Row]:
    native = np.random.default_rng(0).normal(0, 0.1, 4 * 44_100).astype(np.float32)
    soxr_s, resampy_s = (
        median_s(partial(resample, native, 44_100, method, "high")) for method in METHODS
    )
    yield Row("`resample`, 4 s", "resampy, kaiser_best", soxr_s, resampy_s, 20)


def faces(records: list[ClipRecord]) -> Iterator[Row]:
    params, images = load_section("annotate", AnnotateParams), Path("data/voc/JPEGImages")
    detector = dlib.get_frontal_face_detector()
    paths = [p for r in records for p in sorted(images.glob(f"{r.clip_id}_*.jpg"))]

    def ours() -> None:
        begin_cache()
        annotate_clips(records, images, {}, params)

    def rival() -> None:
        for path in paths:
            detector.run(read_image(path), params.upsample, params.min_score)

    what = f"`annotate`, {len(paths)} frames, {WORKERS} processes"
    yield Row(what, "one process, one dlib call a frame", median_s(ours), median_s(rival), 2.5)


def embeddings(records: list[ClipRecord]) -> Iterator[Row]:
    only = {"networks": ("Cnn14",), "handcrafted": (), "weights": "untrained"}
    params, audio = (
        load_section("embed", EmbedParams).model_copy(update=only),
        Path("data/audio32k"),
    )

    def ours() -> None:
        begin_cache()
        embed_all(make_jobs(records, audio, params))

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        checkpoint = Path(folder) / "Cnn14.pth"
        torch.save({"model": build("Cnn14").state_dict()}, checkpoint)
        tagging = panns_inference(Path(folder)).AudioTagging(
            checkpoint_path=str(checkpoint), device="cpu"
        )

    def rival() -> None:
        for record in records:
            tagging.inference(read_waveform(audio / f"{record.clip_id}.wav")[None])

    what = f"`embed`, {len(records)} clips, Cnn14, {WORKERS} processes"
    yield Row(what, "`panns_inference`, a clip a call", median_s(ours), median_s(rival), 2)


def detector(records: list[ClipRecord]) -> Iterator[Row]:
    """An epoch of training on whole frames, one thread."""
    frames = []
    for record in records:
        path = Path("data/voc/JPEGImages") / f"{record.clip_id}_00000.jpg"
        (face,) = read(Path("data/voc/Annotations") / f"{path.stem}.xml").objects[:1]
        frames.append(Frame(record.clip_id, 0, path, face.box, 1 + record.rank))
    params = load_section("detector", DetectorParams)
    params = params.model_copy(update={"closer_px": 0, "epochs": 1, "threads": 1})
    names = sorted({record.emotion for record in records})
    torch.set_num_threads(1)

    def rival() -> None:
        """Torchvision's own model and loop, references/detection/engine.py."""
        net = FasterRCNN(
            build_backbone(params.backbone, "untrained", 0),
            num_classes=1 + len(names),
            min_size=params.min_size_px,
            max_size=params.max_size_px,
            rpn_pre_nms_top_n_train=4 * params.proposals,
            rpn_post_nms_top_n_train=params.proposals,
            box_batch_size_per_image=params.roi_batch,
        ).train()
        optimizer = torch.optim.AdamW(net.parameters(), params.lr)
        for images, targets in training_batches(frames, params.batch, params, CPU):
            loss = sum(net(images, targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    ours_s = median_s(lambda: train_detector(frames, names, params), 3)
    yield Row(
        f"`detect`, an epoch of {len(frames)} frames", "torchvision's model and loop",
        ours_s, median_s(rival, 3), 1.3,
    )  # fmt: skip
    torch.set_num_threads(WORKERS)


def fusion(clips: int = 480) -> Iterator[Row]:
    """All folds of `loso`, calibrated, on random embeddings and face features."""
    settings, generator, folder = Settings.read(), torch.Generator().manual_seed(0), Path("random")
    emotions, frames = ("anger", "fear", "happiness", "sadness"), 6
    records = tuple(
        ClipRecord(
            f"c{n:04d}", "abcd"[n % 4], emotions[n // 4 % 4], "", frames, 25.0, 1, 320, 256,
            64_000, RATE_HZ, times_s=tuple(k / 25 for k in range(frames)),
        )
        for n in range(clips)
    )  # fmt: skip
    keys = {"Wavegram_Cnn14": 2048, "Wavegram_Logmel_Cnn14": 2048, "mfcc": 100, "log_mfcc": 100}
    for record in records:
        values = {k: torch.randn(n, generator=generator) for k, n in keys.items()}
        save_safetensors(folder / f"embeddings/{record.clip_id}.safetensors", values)
    spoken = [
        {"clip_id": r.clip_id, "frame": k, "mouth_motion": 0.1, "speech": 0.5}
        for r in records
        for k in range(frames)
    ]
    write_table(folder / "speech.csv", list(spoken[0]), spoken)
    split = load_section("split", SplitParams).model_copy(update={"protocol": "loso"})
    store, folds = Store(records, folder, folder / "detector"), make_folds(records, split)
    inner = all_inner_folds(records, folds, settings.inner_folds)
    features = {
        f"{r.clip_id}/{name}": values
        for r in records
        for name, values in {
            "frames": torch.arange(frames),
            "scores": torch.ones(frames),
            "features": torch.randn(frames, 256, generator=generator),
        }.items()
    }
    for fold in (*folds, *inner):
        save_safetensors(store.faces / f"{fold.name}.safetensors", features)
    seconds = median_s(lambda: run_folds("av_faster_rcnn", store, folds, settings), 1)
    yield Row(f"`fuse`, {clips} clips, {len(folds)} folds", "20 s", seconds, 20, 1, True)


def answers() -> Iterator[Row]:
    """The model that comes along, on 4 s of sound."""
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * 48_000).astype(np.float32)
    clip = Path("clip.wav")
    write_wav(clip, noise, 48_000)
    recognizer = Recognizer.load(PRETRAINED)
    ours_s = median_s(lambda: recognizer.predict(clip))
    blocks = recognizer.audio_blocks.items()

    def rival() -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "a.wav"
            command: list[object] = [find_ffmpeg().executable, "-nostdin", "-v", "error"]
            command += ["-i", clip, "-c:a", "pcm_f32le", out]
            subprocess.run([str(one) for one in command], check=True)
            signal, rate_hz = read_wav(out)
            heard = resample(to_mono(signal), rate_hz, "soxr", "high")
        for block in blocks:
            embed_waveform(heard, *block)

    yield Row(
        "`avemo predict`, warm",
        "decoding and the network alone",
        ours_s,
        median_s(rival),
        1.2,
        True,
    )


def main() -> None:
    """Measure all on a demo corpus of its own and write the table."""
    torch.set_num_threads(WORKERS)
    os.environ["AVEMO_WORKERS"] = str(WORKERS)
    with tempfile.TemporaryDirectory() as name, chdir(name):
        make_corpus(Path(name) / "avemo", 0)
        os.chdir("avemo")
        records = read_clips(Path("data/clips.csv"))[:CLIPS]
        parts: list[Iterable[Row]] = [extract(), added(480), sound(), faces(records)]
        parts += [embeddings(records), detector(records), fusion(), answers()]
        rows = []
        for row in (row for part in parts for row in part):
            print(row.line(), flush=True)
            rows.append(row)
    packages = ("torch", "torchvision", "dlib-bin", "soxr", "resampy", "panns-inference")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    RESULTS.write_text(
        "# Ours beside others\n\n"
        f"{cpu_name()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {versions}. Seconds are medians of {REPEATS} after one to "
        "warm up (`detect` of 3, `fuse` of 1). `extract`, `annotate` and `embed` start their "
        "worker processes anew each time, which counts; at so few clips it is much of `embed`.\n\n"
        "| what | beside | ours, s | it, s | ratio | target | met |\n"
        "|---|---|---:|---:|---:|---|---|\n" + "".join(f"{row.line()}\n" for row in rows),
        encoding="utf-8",
    )
