"""`avemo check`: whether `params.yaml` is valid, and whether what it names is there.

All findings are listed, not the first alone. Nothing slow is imported: no torch, dlib or OpenCV.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotations.params import AnnotateParams
from models.audio.encoders import SPEECH_HZ, describe_encoder
from models.audio.params import PANNS, EmbedParams
from models.expressions.params import FacesParams
from models.faces.params import DetectorParams
from models.fusion.params import AudioParams, FusionParams, LossParams, VisualParams
from models.systems.baselines.params import BaselineParams
from models.systems.params import CompactParams, PackParams, TrainingParams
from pipeline.clips import Clip, ClipRecord, Index, count_unusable, labelled, read_clips
from pipeline.corpora.corpus import CorpusParams, index_corpus
from pipeline.corpora.demo.params import DemoParams
from pipeline.errors import CorpusError, ParamsError
from pipeline.files import read_table
from pipeline.foreign import printable
from pipeline.media.params import ExtractParams, ResampleParams
from pipeline.params import PARAMS_FILE, Section, read_params, refusals, unknown, validate
from pipeline.scores.params import PredictParams
from pipeline.splits import InnerFoldParams, SplitParams, make_folds
from pipeline.systems import SYSTEMS, SystemSpec, load_system
from pipeline.work.executors import worker_count
from pipeline.work.progress import counted
from stages.cli import weight_files

CLIPS, QUARANTINE = Path("data/clips.csv"), Path("data/quarantine.csv")
DEMO = Path("data/demo")
"""As in `dvc.yaml`."""

SECTIONS: dict[str, type[Section]] = {
    "corpus": CorpusParams,
    "demo": DemoParams,
    "extract": ExtractParams,
    "resample": ResampleParams,
    "annotate": AnnotateParams,
    "embed": EmbedParams,
    "split": SplitParams,
    "detector": DetectorParams,
    "faces": FacesParams,
    "training": TrainingParams,
    "audio": AudioParams,
    "visual": VisualParams,
    "fusion": FusionParams,
    "loss": LossParams,
    "inner_folds": InnerFoldParams,
    "predict": PredictParams,
    "pack": PackParams,
    "baselines": BaselineParams,
    "compact": CompactParams,
}
"""Every section of `params.yaml` and its model; `system` stands beside them."""


@dataclass(frozen=True, slots=True)
class Named:
    """The sections of a valid `params.yaml` that name things outside it."""

    system: SystemSpec
    corpus: CorpusParams
    extract: ExtractParams
    embed: EmbedParams
    split: SplitParams
    detector: DetectorParams
    faces: FacesParams
    audio: AudioParams
    fusion: FusionParams
    inner_folds: InnerFoldParams
    baselines: BaselineParams


def check(path: Path = PARAMS_FILE, patience_s: float = 0.8) -> list[str]:
    """Everything that would stop a run, one line each; none where all is well.

    Args:
        path: the file to check; what it names is looked for from the working folder.
        patience_s: how long a server with weights that are not here may take to answer, in s.

    Raises:
        ParamsError: the file is missing, or no YAML.
    """
    found = params_findings(path)
    if found:
        return found
    named = read_named(path)
    return [
        *_refusal(worker_count),
        *settings_findings(named),
        *corpus_findings(named),
        *weight_files.unavailable(weights_of(named), patience_s),
    ]


def params_findings(path: Path = PARAMS_FILE, shown: Path | None = None) -> list[str]:
    """What is wrong with the file itself, one line each.

    Args:
        path: the file.
        shown: its name in messages, where it will have another.
    """
    content, shown = read_params(path), shown or path
    found = [
        f"{shown}: {name}: {unknown(name, SECTIONS)}"
        for name in content
        if name not in SECTIONS and name != "system"
    ]
    found += _refusal(lambda: load_system(path))
    for name, model in SECTIONS.items():
        if name not in content:
            found.append(f"{shown}: section `{name}` is missing; see presets/demo.yaml")
        else:
            found += refusals(name, content[name], model, shown)
    return found


def require_valid(path: Path = PARAMS_FILE, shown: Path | None = None) -> None:
    """Refuse a file with findings; see `params_findings`.

    Raises:
        ParamsError: it has some; the message lists all.
    """
    found = params_findings(path, shown)
    if found:
        raise ParamsError("; ".join(found))


def read_named(path: Path = PARAMS_FILE) -> Named:
    """The sections of a valid file that name things outside it."""
    content = read_params(path)

    def section(name: str, model: type[Any]) -> Any:
        return validate(name, content[name], model, path)

    return Named(
        SYSTEMS[load_system(path)],
        section("corpus", CorpusParams),
        section("extract", ExtractParams),
        section("embed", EmbedParams),
        section("split", SplitParams),
        section("detector", DetectorParams),
        section("faces", FacesParams),
        section("audio", AudioParams),
        section("fusion", FusionParams),
        section("inner_folds", InnerFoldParams),
        section("baselines", BaselineParams),
    )


def settings_findings(named: Named) -> list[str]:
    """Settings that do not go together."""
    system, found = named.system, []
    networks = system.audio_networks(named.audio.embeddings, named.audio.encoders)
    lacking = [name for name in networks if name not in named.embed.networks]
    if lacking:
        named_in = " (audio.embeddings)" * system.fuses_panns + " (audio.encoders)" * system.speech
        found.append(
            f"embed.networks: system {system.name} reads {', '.join(lacking)}{named_in}, not among "
            f"{', '.join(named.embed.networks) or '(none)'}; add what is missing"
        )
    deepest = max(named.embed.layers)
    for name in (one for one in named.embed.networks if one not in PANNS):
        facts = describe_encoder(name)
        if facts.layers is not None and deepest > facts.layers:
            found.append(
                f"embed.layers: got {deepest}, but {name} has {facts.layers} layers; name some of "
                f"0 to {facts.layers}"
            )
        if facts.rate_hz not in (None, SPEECH_HZ):
            found.append(
                f"embed.networks: {name} hears {facts.rate_hz} Hz, expected {SPEECH_HZ}; choose "
                "another"
            )
    features = {"mfcc", "log_mfcc"} - set(named.embed.handcrafted)
    if system.reads_panns and named.audio.handcrafted and features:
        found.append(
            f"embed.handcrafted: audio.handcrafted needs {', '.join(sorted(features))}; add it or "
            "set audio.handcrafted to false"
        )
    if "face_embeddings" in system.reads and not named.faces.embeddings:
        found.append(
            f"faces.embeddings: system {system.name} reads embeddings of faces, and no encoder is "
            "named; add fer_mini_xception"
        )
    if named.audio.train == "all" and networks and not system.can_be_tuned:
        able = ", ".join(name for name, spec in SYSTEMS.items() if spec.can_be_tuned)
        found.append(
            f"audio.train: got all, but {system.name} keeps its audio networks frozen; "
            f"set it to head, or system to one of {able}"
        )
    if system.fuses and named.fusion.pool and not named.inner_folds.count:
        found.append(
            "fusion.pool: got true, but inner_folds.count is 0, which leaves no clips to fit its "
            "weights on; raise inner_folds.count, or set fusion.pool to false"
        )
    detector = named.detector
    if detector.weights == "coco" and detector.backbone not in weight_files.COCO:
        found.append(
            f"detector.weights: got coco, but nobody published COCO weights for "
            f"{detector.backbone}; use imagenet or untrained, or detector.backbone "
            f"{' or '.join(weight_files.COCO)}"
        )
    baselines = named.baselines
    if system.name == "av_vaanet" and (baselines.weights, baselines.video_net) == (
        "published",
        "c3d",
    ):
        found.append(
            "baselines.weights: got published, but there are none for c3d; set "
            "baselines.video_net to r3d_18 or mc3_18"
        )
    return found


def entry_findings(root: Path) -> list[str]:
    """What lies below the corpus at which DVC would fail, or wait for ever; a line a kind."""
    odd: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*")):
        kind = _odd_kind(path)
        if kind:
            odd.setdefault(kind, []).append(printable(str(path)))
    return [
        f"corpus.root: {paths[0]}: got {kind}, of which there "
        f"{'is 1' if len(paths) == 1 else f'are {len(paths)}'}; {ODD_KINDS[kind]}"
        for kind, paths in odd.items()
    ]


ODD_KINDS = {
    "a name that is not UTF-8": "expected one that is; rename it",
    "a link that leads nowhere": "expected a file; delete it",
    "a pipe, socket or device": "expected a file or folder; move it elsewhere",
}
"""What DVC cannot take, and the remedy."""


def _odd_kind(path: Path) -> str:
    """One of `ODD_KINDS`, or ""."""
    if printable(path.name) != path.name:
        return "a name that is not UTF-8"
    try:
        mode = path.stat().st_mode
    except OSError:  # missing, or a circle of links
        return "a link that leads nowhere"
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "a pipe, socket or device"


def corpus_findings(named: Named) -> list[str]:
    """What is wrong with the corpus, with what the system needs of it, and with its folds."""
    system, corpus = named.system, named.corpus
    needed = "av" if len(system.modalities) == 2 else system.modalities[0]
    if corpus.modalities not in ("auto", "av", needed):
        return [
            f"corpus.modalities: got {corpus.modalities}, but system {system.name} needs "
            f"{' and '.join(system.modalities)}; set another system, or auto"
        ]
    folds = named.split.folds_csv
    if named.split.protocol == "folds" and not folds.is_file():
        return [f"split.folds_csv: {folds}: no such file; expected columns clip_id,fold"]
    drawn = corpus.name == "demo" and corpus.root == DEMO  # by the first stage of `dvc repro`
    if drawn and not any(DEMO.rglob("*.wav")):
        return []
    if corpus.root.is_dir() and not os.access(corpus.root, os.R_OK | os.X_OK):
        return [f"corpus.root: {corpus.root}: may not be read; change its permissions"]
    if odd := entry_findings(corpus.root):
        return odd
    try:
        index = index_corpus(corpus)
    except (CorpusError, OSError) as error:
        return [str(error)]
    clips = index.clips
    if not clips:
        return [
            f"corpus.root: {corpus.root}: none of {counted(len(index.rejects), 'file')} is a "
            f"recording of {corpus.name}, the first: {index.rejects[0].reason}"
        ]
    silent = [clip for clip in clips if clip.video is None]
    if "video" in system.modalities and len(silent) == len(clips):
        return [
            f"system: {system.name} needs video, and none of {counted(len(clips), 'clip')} below "
            f"{corpus.root} has any; set another system"
        ]
    return [
        *_too_many_bad(index, named),
        *_refusal(lambda: make_folds(_records(clips), named.split)),
    ]


def _too_many_bad(index: Index, named: Named) -> list[str]:
    """Whether `extract` would refuse the corpus for the files that are known not to be usable."""
    root, most = named.corpus.root, named.extract.max_bad_fraction
    bad = count_unusable(index.rejects, (clip.clip_id for clip in index.clips))
    total = bad + len(index.clips)
    if bad <= most * total:
        return []
    return [
        f"corpus.root: {root}: {bad} of {counted(total, 'clip')} cannot be used, expected at most "
        f"a share of {most:g}; mend or move what `avemo corpus {root}` lists as not used, or raise "
        f"extract.max_bad_fraction; the first: {printable(index.rejects[0].reason)}"
    ]


def corpus_records(named: Named) -> list[ClipRecord]:
    """Clips of the corpus: those of the last `extract` where it read this one, else all.

    Raises:
        CorpusError: the corpus is not there, or no recording is.
    """
    return _records(index_corpus(named.corpus).clips)


def weights_of(named: Named) -> list[weight_files.WeightFile]:
    """All files of weights that a run reads."""
    detector = named.detector
    known = detector.weights != "coco" or detector.backbone in weight_files.COCO
    watched = named.corpus.modalities != "audio"
    return [
        *weight_files.embedding_weights(named.embed),
        *(weight_files.detector_weights(detector) if known and watched else ()),
        *(weight_files.expression_weights(named.faces) if watched else ()),
        *_published(named),
    ]


def _published(named: Named) -> list[weight_files.WeightFile]:
    try:
        return weight_files.baseline_weights(named.system.name, named.baselines)
    except KeyError:  # published weights of a network without any: `settings_findings` tells
        return []


def _records(clips: Iterable[Clip]) -> list[ClipRecord]:
    """Usable clips: as the last `extract` found them where it read this corpus, others by name."""
    by_id: Mapping[str, Clip] = {clip.clip_id: clip for clip in clips}
    known = read_clips(CLIPS) if CLIPS.is_file() else []
    bad: set[str] = set()
    if not {record.clip_id for record in known} <= by_id.keys():
        known = []
    elif QUARANTINE.is_file():
        again = "run `dvc repro extract`"
        bad.update(read_table(QUARANTINE, lambda row: row["clip_id"], again))
    read = {record.clip_id: record for record in known}
    return [
        labelled(read.get(clip_id, ClipRecord(clip_id, "", "", "", 1, 1.0, 1, 1, 1, 1, 1)), clip)
        for clip_id, clip in by_id.items()
        if clip_id in read or clip_id not in bad
    ]


def _refusal(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except (ParamsError, CorpusError) as error:
        return [str(error)]
    return []
