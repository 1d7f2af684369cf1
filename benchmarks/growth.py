"""How time, memory and files grow with the number of clips, stage by stage.

    python -m benchmarks.growth      # as with --clips 100,1000 --fuse 100,480,1440
    python -m benchmarks.growth --clips 100,1000,10000

Up to `embed` clips are simulated: 0.4 s, 10 frames of 64 x 48 px without a face, each with bytes of
its own. The network of `embed` is a stub: a speech encoder of random weights, three layers of 16
numbers. For `fuse` there are no clips: embeddings, face features (16 frames of 1,024 numbers) and
speech activity are random, params those of preset `savee_loso`.

`growth.csv` has, by stage, seconds, seconds of all cores (which other programs hardly change), the
highest sum of proportional set sizes, and files and MB in `data` and `results` and in the clip
cache; and slopes on log-log from the size before, where 1 is linear.
"""

import argparse
import csv
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import torch
import transformers
from ruamel.yaml import YAML

from benchmarks.pipeline import ROOT, Memory, timed
from models.audio.handcrafted import DIMENSION
from models.audio.params import EmbedParams
from models.checkpoint import save_safetensors
from models.systems.inputs import HANDCRAFTED
from pipeline.clips import ClipRecord, frame_name, write_clips, write_quarantine
from pipeline.corpora.savee import EMOTION_OF
from pipeline.files import write_table
from pipeline.media.ffmpeg import find_ffmpeg
from pipeline.params import load_section
from pipeline.splits import InnerFoldParams, SplitParams, all_inner_folds, make_folds
from stages.cli.presets import apply_preset

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = (
    "stage", "clips", "seconds", "core_s", "peak_mb", "files", "mb", "cache_files", "cache_mb",
    "slope_seconds", "slope_core_s", "slope_peak_mb",
)  # fmt: skip
MB = 1e6
PER_CLIP = ("extract", "resample", "annotate", "embed")
SPEAKERS = ("DC", "JE", "JK", "KL")
FRAMES, FACE_WIDTH, PANNS_WIDTH = 16, 1024, 2048
STUB = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
    "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """How many files, and how large together, MB."""

    files: int
    mb: float

    @classmethod
    def below(cls, *folders: Path) -> "Stored":
        """All that lies in some folders."""
        sizes = [
            path.stat().st_size
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink()
        ]
        return cls(len(sizes), sum(sizes) / MB)

    def since(self, before: "Stored") -> dict[str, float]:
        """What came since, as columns."""
        return {"files": self.files - before.files, "mb": round(self.mb - before.mb, 3)}


def new_project(folder: Path, preset: str, root: Path, changes: dict[str, object]) -> Path:
    """A folder with the params of a preset, and what the stages need beside them."""
    folder.mkdir()
    for name in ("params.yaml", "dvc.yaml", "folds.csv"):
        shutil.copy(ROOT / name, folder)
    for name in ("presets", "annotations/corrections"):
        shutil.copytree(ROOT / name, folder / name)
    apply_preset(preset, root, folder / "params.yaml", folder / "presets")
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    for section, values in changes.items():
        params[section] = params[section] | values
    yaml.dump(params, folder / "params.yaml")
    return folder


def film(folder: Path, clips: int) -> None:
    """As many recordings, four speakers and seven emotions in turn."""
    template, title = folder.with_suffix(".avi"), "0123456789"
    picture = "testsrc2=size=64x48:rate=25:duration=0.4"
    sound = "sine=sample_rate=44100:duration=0.4"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    coded = ["-c:v", "mjpeg", "-c:a", "pcm_s16le", "-metadata", f"title={title}"]
    command = [find_ffmpeg().executable, "-v", "error", *inputs, *coded, str(template)]
    subprocess.run(command, check=True)
    content = template.read_bytes()
    for number in range(clips):
        speaker = SPEAKERS[number % 4]
        emotion = list(EMOTION_OF.values())[number // 4 % 7]
        path = folder / speaker / emotion / f"take{number // 28:05d}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.replace(title.encode(), f"{number:010d}".encode()))


def clips_project(folder: Path, clips: int) -> Path:
    """A project over simulated recordings, with the stub for a network."""
    film(folder / "recordings", clips)
    torch.manual_seed(0)
    stub = transformers.AutoModel.from_config(transformers.Wav2Vec2Config(**STUB))
    stub.save_pretrained(folder / "stub")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder / "stub")
    changes: dict[str, object] = {
        "embed": {"networks": [str(folder / "stub")], "weights": "untrained"}
    }
    return new_project(folder / "project", "folder", folder / "recordings", changes)


def features_project(folder: Path, clips: int) -> Path:
    """A project that has all that `fuse` reads, at random."""
    project = new_project(folder / "project", "savee_loso", folder, {})
    data, generator = project / "data", torch.Generator().manual_seed(0)
    emotions = list(EMOTION_OF.values())
    records = [
        ClipRecord(
            f"{SPEAKERS[n % 4]}_{n:05d}", SPEAKERS[n % 4], emotions[n // 4 % 7], f"s{n // 28}",
            FRAMES, 60.0, 6, 320, 256, 160_000, 44_100, n // 4 % 7,
        )
        for n in range(clips)
    ]  # fmt: skip
    for name in ("voc/JPEGImages", "embeddings", "face_features"):
        (data / name).mkdir(parents=True)
    write_clips(data / "clips.csv", records)
    write_quarantine(data / "quarantine.csv", [])
    params = load_section("embed", EmbedParams, project / "params.yaml")
    for record in records:
        values = {name: torch.randn(PANNS_WIDTH, generator=generator) for name in params.networks}
        values |= {name: torch.randn(DIMENSION, generator=generator) for name in HANDCRAFTED}
        save_safetensors(data / "embeddings" / f"{record.clip_id}.safetensors", values)
        for frame in range(FRAMES):  # the report copies some, whatever they hold
            (data / "voc/JPEGImages" / f"{frame_name(record.clip_id, frame)}.jpg").touch()
    spoken = np.random.default_rng(0).random(clips * FRAMES)
    rows = (
        {"clip_id": record.clip_id, "frame": frame, "speech": spoken[n * FRAMES + frame]}
        for n, record in enumerate(records)
        for frame in range(FRAMES)
    )
    write_table(data / "speech.csv", ("clip_id", "frame", "speech"), rows)
    split = load_section("split", SplitParams, project / "params.yaml")
    inner = load_section("inner_folds", InnerFoldParams, project / "params.yaml")
    folds = make_folds(records, split)
    for fold in (*folds, *all_inner_folds(records, folds, inner)):
        tensors = {}
        for clip in (*fold.train, *fold.test):
            tensors[f"{clip}/features"] = torch.randn(FRAMES, FACE_WIDTH, generator=generator)
            tensors[f"{clip}/scores"] = torch.rand(FRAMES, generator=generator)
            tensors[f"{clip}/frames"] = torch.arange(FRAMES)
        save_safetensors(data / "face_features" / f"{fold.name}.safetensors", tensors)
    return project


def measured(project: Path, stage: str, clips: int) -> dict[str, object]:
    """A row of the table, from running a stage."""
    cache = project.parent / "cache"
    before, kept = Stored.below(project / "data", project / "results"), Stored.below(cache)
    memory, core_s = Memory(), cores_s()
    with memory.watched():
        seconds = timed(project, [sys.executable, "-m", "stages.cli.app", stage], cache)
    now = Stored.below(project / "data", project / "results").since(before)
    cached = {f"cache_{name}": value for name, value in Stored.below(cache).since(kept).items()}
    spent = {"seconds": round(seconds, 2), "core_s": round(cores_s() - core_s, 2)}
    row = {"stage": stage, "clips": clips, **spent, "peak_mb": round(memory.peak / MB, 1)}
    print(*(f"{name} {value}" for name, value in row.items()), sep="  ", flush=True)
    return row | now | cached


def cores_s() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def grown(
    sizes: Sequence[int], make: Callable[[Path, int], Path], stages: Sequence[str]
) -> list[dict[str, object]]:
    """Rows of all stages at all sizes, with slopes from size to size."""
    rows: dict[str, list[dict[str, object]]] = {stage: [] for stage in stages}
    for clips in sizes:
        with tempfile.TemporaryDirectory() as name:
            project = make(Path(name), clips)
            for stage in stages:
                rows[stage].append(measured(project, stage, clips))
    for found in rows.values():
        for before, after in pairwise(found):
            for what in ("seconds", "core_s", "peak_mb"):
                after[f"slope_{what}"] = round(slope(before, after, what), 2)
    return [row for found in rows.values() for row in found]


def slope(before: dict[str, object], after: dict[str, object], what: str) -> float:
    """On log-log, of two rows."""
    rise, run = (
        math.log(float(str(after[name])) / float(str(before[name]))) for name in (what, "clips")
    )
    return rise / run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=sizes, default=[100, 1000], help="up to embed, with commas")
    parser.add_argument("--fuse", type=sizes, default=[100, 480, 1440], help="the same for fuse")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    if not psutil.LINUX:
        parser.error("proportional set sizes are known to Linux alone")
    started = time.monotonic()
    rows = grown(given.clips, clips_project, PER_CLIP) + grown(
        given.fuse, features_project, ["fuse"]
    )
    with given.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{given.out}: {time.monotonic() - started:.0f} s")


def sizes(text: str) -> list[int]:
    """Numbers of clips, rising."""
    return sorted(int(part) for part in text.split(",") if part)


if __name__ == "__main__":
    main()
