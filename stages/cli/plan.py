"""`avemo plan`: what a run of all stages will take, before it is begun.

Counts come from `data/clips.csv` where it holds this corpus, else from the corpus's file names and
what its clips are known to be like. The speeds that matter are timed here, on random pictures and
sound, for a few seconds; the others are constants below, and the forecast says which are which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from annotations.params import AnnotateParams
from models.audio.front_end import RATE_HZ
from models.device import CPU, chosen_device, chosen_devices, device_name
from models.fusion.params import VisualParams
from models.speeds import Speeds, Timed, time_speeds
from models.systems.params import CompactParams, PackParams
from models.systems.refit import EVERY_CLIP
from pipeline.clips import ClipRecord, emotions_of
from pipeline.corpora.corpus import index_corpus
from pipeline.corpora.demo.corpus import clip_id, orders
from pipeline.corpora.demo.params import DemoParams
from pipeline.media.params import ExtractParams
from pipeline.params import load_section
from pipeline.splits import Fold, InnerFoldParams, all_inner_folds, make_folds
from pipeline.work.executors import worker_count
from pipeline.work.progress import counted
from stages.cli.check import CLIPS, Named, corpus_records, read_named, require_valid

GIB = 2**30
COPIES = 3
"""Of each product: in `data` or `results`, in DVC's cache and in the clip cache."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the clips of a corpus are like: mean length in s, frames per second, px, Hz."""

    seconds: float
    fps: float
    width_px: int
    height_px: int
    rate_hz: int


KINDS = {
    "savee": Kind(3.8, 60.0, 320, 256, 44_100),
    "ravdess": Kind(3.7, 29.97, 1280, 720, 48_000),
    "cremad": Kind(2.5, 29.97, 480, 360, 44_100),
    "folder": Kind(4.0, 30.0, 1280, 720, 48_000),
    "demo": Kind(2.0, 25.0, 320, 256, 48_000),
}
"""Where nothing has been extracted yet."""

DRAW_S = 0.2
"""Of one core, to draw and voice one second of the demo."""
DECODE_S = 20e-9
"""Of one core, per px of the source: to decode, and to store what is kept."""
OPEN_S = 0.05
"""Of one core, to start ffmpeg on one clip."""
RESAMPLE_S = 0.005
"""Of one core, per second of sound."""
TRACK_S = 0.004
"""Of one core, per stored frame: speech activity and XML, beside dlib."""
FACE_S = 0.006
"""Of one core, per face that `fer_mini_xception` embeds."""
FACE_BYTES = 540
"""Of such an embedding."""
HEADS_S = 1e-4
"""Of one core, per clip and epoch of a branch or of the network over both."""
COMPACT_S = 0.008 / (16 * 2.2)
"""Of one core, per clip, epoch and network of `audio_compact`, channel of its first convolution and
second heard."""
START_S = 3.0
"""Of a stage: imports, worker processes, tables."""
LAST_S = 15.0
"""Of `pack` and `report`."""
JPEG_BYTES = 0.085
"""Per px of a stored frame; the XML beside it takes `XML_BYTES`."""
XML_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Volume:
    """What a run works on: clips and its folds; those of `inner` are not scored."""

    records: list[ClipRecord]
    folds: list[Fold]
    inner: tuple[Fold, ...]
    extracted: bool

    @property
    def seconds(self) -> float:
        """Of sound, or of frames where there is none."""
        return sum(record.duration_s for record in self.records)

    @property
    def sound_s(self) -> float:
        """Of sound."""
        return sum(record.sound_s for record in self.records)

    @property
    def frames(self) -> int:
        """Stored frames."""
        return sum(record.frames for record in self.records)


@dataclass(frozen=True, slots=True)
class Row:
    """A stage: its work in words, hours on the CPU and with the GPU, bytes on disk."""

    stage: str
    work: str
    cpu_s: float
    gpu_s: float
    stored: float


def plan() -> str:
    """The forecast of the run that `params.yaml` asks for, as text.

    Raises:
        ParamsError: `params.yaml` is not valid.
        CorpusError: the corpus is not there, or has not the folds that it asks for.
    """
    require_valid()
    named = read_named()
    volume = measure_volume(named)
    timed = Timed(load_section("annotate", AnnotateParams), named.embed, named.detector)
    filmed = [record for record in volume.records if record.has_video]
    frame_px = (filmed[0].width_px, filmed[0].height_px) if filmed else None
    sound_s = sorted(record.sound_s for record in volume.records)[len(volume.records) // 2]
    speeds = time_speeds(frame_px, sound_s, timed)
    rows = forecast(named, volume, speeds, max(1, worker_count()))
    return "\n".join([*_table(rows), "", *_notes(named, volume, speeds)])


def measure_volume(named: Named) -> Volume:
    """Clips, as they are or as they are expected to be, and the folds of them."""
    if named.corpus.name == "demo" and not named.corpus.root.is_dir():  # the first stage makes it
        return _volume(named, _demo_records(), False)
    records = corpus_records(named)
    step = load_section("extract", ExtractParams).frame_step
    extracted = [  # not known by name alone, nor at another rate
        max(r.rate_hz, r.width_px) > 1 and r.frame_step == step for r in records
    ]
    if not all(extracted):
        clips = {clip.clip_id: clip for clip in index_corpus(named.corpus).clips}
        filmed, heard = (named.corpus.modalities != other for other in ("audio", "video"))
        records = [
            r
            if known
            else expected(
                r,
                KINDS[named.corpus.name],
                step,
                filmed and clips[r.clip_id].video is not None,
                heard,
            )
            for r, known in zip(records, extracted, strict=True)
        ]
    return _volume(named, records, all(extracted))


def _demo_records() -> list[ClipRecord]:
    demo, step = load_section("demo", DemoParams), load_section("extract", ExtractParams).frame_step
    clips = (
        ClipRecord(
            clip_id(one.play), one.play.speaker.name, one.play.emotion, one.play.sentence,
            1, 1, 1, 1, 1, 1, 1,
        )
        for one in orders(demo)
    )  # fmt: skip
    return [expected(clip, KINDS["demo"], step, True, True) for clip in clips]


def _volume(named: Named, records: list[ClipRecord], extracted: bool) -> Volume:
    folds = make_folds(records, named.split)
    inner = all_inner_folds(records, folds, load_section("inner_folds", InnerFoldParams))
    if load_section("pack", PackParams).clips == "all":  # `pack` trains once more
        inner = (*inner, Fold(EVERY_CLIP, tuple(sorted(r.clip_id for r in records)), ()))
    return Volume(records, folds, inner, extracted)


def expected(
    record: ClipRecord, kind: Kind, frame_step: int, filmed: bool, heard: bool
) -> ClipRecord:
    """A clip of which only the name is known."""
    return replace(
        record,
        frames=round(kind.seconds * kind.fps / frame_step) if filmed else 0,
        fps=kind.fps,
        frame_step=frame_step,
        width_px=kind.width_px,
        height_px=kind.height_px,
        samples=round(kind.seconds * kind.rate_hz) if heard else 0,
        rate_hz=kind.rate_hz,
        times_s=(),
    )


def forecast(named: Named, volume: Volume, speeds: Speeds, cores: int) -> list[Row]:
    """Time and disk of each stage.

    Args:
        named: sections of `params.yaml`.
        volume: what there is to do.
        speeds: of this machine.
        cores: worker processes.
    """
    records, seconds, frames = volume.records, volume.seconds, volume.frames
    source_px = sum(r.frames * r.frame_step * r.width_px * r.height_px for r in records)
    stored_px = sum(r.frames * r.width_px * r.height_px for r in records)
    sound_s, versions = volume.sound_s, 1 + named.embed.noisy_copies
    sounding = sum(record.has_audio for record in records)

    def row(stage: str, work: str, core_s: float, stored: float) -> Row:
        spent = START_S + core_s / cores
        return Row(stage, work, spent, spent, COPIES * stored)

    rows = []
    if named.corpus.name == "demo":
        rows.append(row("demo", f"{len(records)} clips drawn", DRAW_S * seconds, 0.4e6 * seconds))
    rows += [
        row(
            "extract",
            f"{len(records)} clips, {seconds / 60:.0f} min, {frames} frames",
            OPEN_S * len(records) + DECODE_S * source_px,
            JPEG_BYTES * stored_px + 2 * sum(r.samples for r in records),
        ),
        row("resample", f"{sound_s / 60:.0f} min", RESAMPLE_S * sound_s, 4 * RATE_HZ * sound_s),
        row("annotate", f"{frames} frames", (speeds.look + TRACK_S) * frames, XML_BYTES * frames),
        Row(
            "embed",
            f"{len(named.embed.names)} x {versions * sounding} clips",
            START_S + (speeds.core.embed + speeds.features) * versions * sound_s / cores,
            START_S
            + speeds.device.embed * versions * sound_s / len(chosen_devices())
            + speeds.features * versions * sound_s / cores,
            COPIES * 8192 * len(named.embed.names) * versions * sounding,
        ),
    ]
    if frames:
        rows.append(_detect_row(named, volume, speeds, cores))
        faces, encoders = _faces_found(named, volume), len(named.faces.embeddings)
        rows.append(
            row(
                "embed_faces",
                f"{encoders} x {faces} faces",
                FACE_S * encoders * faces,
                FACE_BYTES * encoders * faces,
            )
        )
    return [*rows, _fuse_row(named, volume)]


def _detect_row(named: Named, volume: Volume, speeds: Speeds, cores: int) -> Row:
    params, length = named.detector, {r.clip_id: r.frames for r in volume.records}
    closer = params.closer_epochs if params.closer_px else 0
    seen: dict[tuple[str, ...], set[str]] = {}  # by training clips: folds alike share a detector
    for fold in (*volume.folds, *volume.inner):
        seen.setdefault(fold.train, set()).update(fold.train, fold.test)
    cpu, gpu, passes = list[float](), list[float](), 0
    for clips, looked_at in seen.items():
        train = sum(min(length[i], params.frames_per_clip_train) for i in clips)
        found = sum(min(length[i], params.frames_per_clip) for i in looked_at)
        passes += train * (params.epochs + closer)
        for costs, speed in ((cpu, speeds.core), (gpu, speeds.device)):
            learn = train * (params.epochs * speed.train + closer * speed.closer)
            costs.append(learn + found * speed.detect)
    threads = min(params.threads, cores)
    shared = len(seen) - len(volume.folds)
    return Row(
        "detect",
        f"{len(volume.folds)} + {shared} detectors, {passes} frames through them",
        START_S + max(sum(cpu) / cores, makespan(cpu, cores) / threads),
        START_S + makespan(gpu, len(chosen_devices())),
        COPIES * speeds.detector_bytes * len(cpu),
    )


def _faces_found(named: Named, volume: Volume) -> int:
    """Frames in which the detectors look for faces, of all folds and inner folds."""
    length, most = {r.clip_id: r.frames for r in volume.records}, named.detector.frames_per_clip
    folds = (*volume.folds, *volume.inner)
    return sum(min(length[i], most) for fold in folds for i in (*fold.train, *fold.test))


def makespan(costs: Sequence[float], workers: int) -> float:
    """Time until all work is done, each piece by the worker that is free first."""
    busy = [0.0] * workers
    for cost in costs:
        busy[busy.index(min(busy))] += cost
    return max(busy)


def _fuse_row(named: Named, volume: Volume) -> Row:
    if named.system.name == "audio_compact":
        compact = load_section("compact", CompactParams)
        epochs = compact.epochs
        clip_s = COMPACT_S * compact.members * compact.width * compact.excerpt_s
    else:
        visual = load_section("visual", VisualParams)
        epochs = named.audio.epochs + visual.epochs
        epochs += named.fusion.warmup_epochs + named.fusion.epochs
        clip_s = HEADS_S
    clips = sum(len(fold.train) for fold in (*volume.folds, *volume.inner))
    spent = START_S + LAST_S + clip_s * clips * epochs
    work = f"{len(volume.folds)} + {len(volume.inner)} trainings of {epochs} epochs; report"
    return Row("fuse on", work, spent, spent, 0.0)


def _table(rows: Sequence[Row]) -> list[str]:
    gpu = chosen_device() != CPU
    total = Row(
        "total",
        "",
        sum(row.cpu_s for row in rows),
        sum(row.gpu_s for row in rows),
        sum(row.stored for row in rows),
    )
    wide = max(len(row.work) for row in rows)
    head = ("CPU", "GPU", "disk")
    lines = [f"{'stage':11} {'work':{wide}} {head[0]:>8}{f' {head[1]:>8}' * gpu} {head[2]:>9}"]
    for row in (*rows, total):
        lines.append(
            f"{row.stage:11} {row.work:{wide}} {clock(row.cpu_s):>8}"
            f"{f' {clock(row.gpu_s):>8}' * gpu} {row.stored / GIB:6.1f} GB"
        )
    return lines


def clock(seconds: float) -> str:
    """`25 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _notes(named: Named, volume: Volume, speeds: Speeds) -> list[str]:
    cores, core, kind = max(1, worker_count()), speeds.core, KINDS[named.corpus.name]
    machine = f"{counted(cores, 'worker')} on the CPU"
    if (device := chosen_device()) != CPU:
        machine += f", or networks on {len(chosen_devices())} x {device_name(device)}"
    source = (
        str(CLIPS)
        if volume.extracted
        else f"file names; each clip taken to last {kind.seconds} s, {kind.width_px} x "
        f"{kind.height_px} px at {kind.fps:g} frames/s"
    )
    classes = len(emotions_of(volume.records))
    return [
        f"For {machine}. Nothing that is in a cache already was taken off.",
        f"Counts ({counted(len(volume.folds), 'fold')}, {classes} emotions): from {source}.",
        "Timed here, on one thread and random input: "
        f"detector {core.train:.3f} s/frame to train, {core.detect:.3f} to run, dlib "
        f"{speeds.look:.4f} s/frame, embeddings {core.embed + speeds.features:.3f} s per s of "
        "sound.",
        f"Constants, not timed: decoding, resampling, speech activity, heads, and disk: {COPIES} "
        "copies of each product (data, DVC's cache, the clip cache).",
        "Other programs on the machine make it longer. Systems that train image networks of their "
        "own, audio networks (audio.train: all), and fusion.joint, come on top.",
    ]
