"""What the report says in plain words: notices, what was run, what the figures mean, sources."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.report.results import Results
from pipeline.report.run import Run
from pipeline.scores.intervals import SPEAKERS
from pipeline.systems import SYSTEMS
from pipeline.work.occasion import Hardware, Occasion
from pipeline.work.progress import counted

DEMO = "demo"
OWN = "folder"
NAMES_SHOWN = 12
COMMIT_DIGITS = 10

KINDS = {"av": "Audio-visual", "audio": "Audio", "visual": "Visual"}
"""What a system reads, by its branch."""

HEADS = {"paper": "over F = [A, V] alone", "residual": "added to the branches' log p"}
"""What `fusion.head` makes of the layers over both branches."""

CORPORA = {
    DEMO: "the embedded demo corpus (drawn faces, synthetic voices)",
    "savee": "SAVEE",
    "ravdess": "RAVDESS",
    "cremad": "CREMA-D",
    OWN: "a folder of recordings",
}

UNTRIED = {
    "savee": "Its developers have not run this project on SAVEE itself.",
    "ravdess": "Its developers have run this project on the sound of 16 of RAVDESS's 24 actors and "
    "on a few of its videos, not on the whole.",
    "cremad": "Its developers have run this project on a few clips of CREMA-D, not on the whole.",
}
UNTRIED_WEIGHTS = (
    "Its developers have not run this project with the published weights of the audio networks."
)

CAUTIONS = {
    DEMO: (
        "The demo corpus was built so that face and voice complement each other: they are drawn "
        "apart, and each mistakes other emotions for one another. That fusion gains here is no "
        "evidence that it gains on people.",
    ),
    "savee": (
        "SAVEE's actors wear blue markers on their faces. What a face system learns from them need "
        "not carry over to bare faces.",
        "For two thirds of SAVEE's clips the sentence tells the emotion: knowing nothing but the "
        "sentence would give about 75% under `loso`. `loso_text` holds out sentences too; it rests "
        "on an assumed order of the neutral sentences.",
    ),
}
"""What to beware of in a corpus."""

LABELS = {
    "acted": "The corpus holds emotions shown on request, in short clips. Naming the label that an "
    "actor was given",
    "named": "The labels are those that files, folders or `clips.csv` give. Naming a label",
    "crowd": "The labels are what most raters saw or heard in an actor's clip. Naming what others "
    "perceive",
}
"""By `corpus.label_source`."""

SOURCES = (
    "Method and published figures: Hussain, Wang, Bouaynaya, Fathallah-Shaykh and Mihaylova, "
    "Deep Learning for Audio Visual Emotion Recognition. Eq. (1) to (4) are its equations.",
    "SAVEE: Haq and Jackson, Multimodal emotion recognition, in Machine Audition (2010).",
    "Audio networks: Kong et al., PANNs: Large-Scale Pretrained Audio Neural Networks for Audio "
    "Pattern Recognition, IEEE/ACM TASLP 28 (2020).",
    "Face detector: Ren et al., Faster R-CNN (2015), arXiv 1506.01497. Its box variance and "
    "variance voting: He et al., Bounding Box Regression with Uncertainty for Accurate Object "
    "Detection, CVPR 2019, arXiv 1809.08545.",
    "Annotated faces: King, Dlib-ml: A Machine Learning Toolkit, JMLR 10 (2009).",
    "Reliability and ECE: Guo et al., On Calibration of Modern Neural Networks (2017), arXiv "
    "1706.04599. Brier score: Brier (1950), Monthly Weather Review 78. Risk and coverage: Geifman "
    "and El-Yaniv (2017), arXiv 1705.08500.",
    "Intervals of a share: Wilson (1927), JASA 22; of other scores by their effective number of "
    "clips: Franco et al. (2019), Journal of Survey Statistics and Methodology 7; of differences: "
    "Newcombe (1998), Statistics in Medicine 17, method 10. Paired test: McNemar (1947), "
    "Psychometrika 12, in its exact form.",
)


def notices(system: str, corpus: str, audio_weights: str) -> list[str]:
    """What a reader must know before any figure; the page opens with them.

    Args:
        system: a key of `SYSTEMS`.
        corpus: `corpus.name`.
        audio_weights: `embed.weights`.
    """
    found = []
    if corpus == DEMO:
        found.append(
            "Demo corpus: the faces are drawn and the voices synthesised. These figures prove that "
            "the machinery works. They say nothing about people. Parameters were chosen on its "
            "seeds 0 and 101 to 103."
        )
    if audio_weights == "untrained" and SYSTEMS[system].reads_panns:
        found.append(
            "The audio network is untrained: its weights are random, so the audio figures are not "
            "those of the published networks."
        )
    return found


def other_test_set(results: Results) -> str:
    """A warning where the committed metrics are of other test clips, else ""."""
    committed = results.committed_test_set
    if not committed or committed == results.run.protocol.test_set:
        return ""
    return (
        "Other test clips than the committed run: the figures below and those of "
        "results/metrics.json at HEAD were not taken on the same clips, so their difference is not "
        "the effect of a change to the method."
    )


def protocol(run: Run) -> str:
    """How test clips were held out, as the end of a sentence."""
    split = run.protocol.split
    left_out = (
        f"one of {split.speaker_groups} groups of speakers left out at a time"
        if split.speaker_groups
        else "one speaker left out at a time"
    )
    return {
        "paper": f"{split.test_per_emotion} random clips of each emotion held out for test, "
        "whoever speaks them (the paper's split)",
        "loso": f"{left_out}; no test speaker was heard or seen in training",
        "loso_text": f"{left_out}, and none of the sentences tested was trained",
        "folds": f"the folds of {split.folds_csv}",
    }[split.protocol]


def detector_warnings(run: Run) -> list[str]:
    """Why the face detector of this run failed, if it did, before joint training or in it."""
    warnings = (one.get("warning") for one in (run.detector, run.joint_detector or {}))
    return [f"{warning[0].upper()}{warning[1:]}." for warning in map(str, filter(None, warnings))]


def answer(run: Run) -> str:
    """Whose answer the headline is, for a system that fuses branches."""
    return "pool of network and branches" if run.scores.pooled else "fused network"


def score_warnings(run: Run) -> list[str]:
    """What is arbitrary in the answers of this run, if anything."""
    return [f"{warning[0].upper()}{warning[1:]}." for warning in run.scores.warnings]


def subtitle(results: Results) -> str:
    """One sentence: what recognised what, on which clips."""
    run, main = results.run, results.main
    kind = KINDS[SYSTEMS[run.system].branch]
    return (
        f"{kind} emotion recognition on {CORPORA[run.corpus.name]}: {len(main.emotions)} emotions, "
        f"{counted(len(main), 'test clip')} of {counted(len({*main.speaker}), 'speaker')}."
    )


def meaning(results: Results) -> list[str]:
    """What the figures do and do not mean, a few plain paragraphs."""
    interval = results.run.scores.branches[results.headline].interval("accuracy")
    return [
        f"Accuracy (WA) is the share of the {counted(len(results.main), 'test clip')} whose "
        "emotion was named; UA is the mean over emotions, so that a common emotion does not count "
        "more. "
        f"The interval, {interval.low:.1%} to {interval.high:.1%}, says how far these clips leave "
        f"the true figure open: {_sample(results)}, nor other rooms or cameras, nor another "
        "training seed. About 95 of 100 such intervals hold it.",
        _speakers_meaning(results),
        _labels_meaning(results.run),
        *_cautions(results.run),
    ]


def _cautions(run: Run) -> Iterator[str]:
    """What was never tried, and what to beware of in the corpus."""
    corpus = run.corpus.name
    if corpus in UNTRIED:
        yield UNTRIED[corpus]
    if run.method.audio_weights != "untrained" and SYSTEMS[run.system].reads_panns:
        yield UNTRIED_WEIGHTS
    yield from CAUTIONS.get(corpus, ())


def _sample(results: Results) -> str:
    """Of what the test clips are a sample, and what an interval therefore leaves out."""
    if len({*results.main.speaker}) >= SPEAKERS:
        return "other clips by other speakers like these. It does not cover unlike speakers"
    return "other clips by the same speakers. It does not cover other speakers"


def flags(results: Results) -> Sequence[tuple[str, str]]:
    """The run as label and value, for the table of what was run."""
    run = results.run
    corpus, folds = run.corpus, run.protocol.folds
    trains = sorted({fold.train for fold in folds})
    trained = f"{trains[0]} to {trains[-1]}" if len(trains) > 1 else str(trains[0])
    return [
        ("System", f"{run.system}: {SYSTEMS[run.system].title}"),
        ("Method", _method(run)),
        ("Corpus", CORPORA[corpus.name]),
        ("Protocol", f"{run.protocol.split.protocol}: {protocol(run)}"),
        (
            "Folds",
            f"{counted(len(folds), 'fold')}; {trained} clips train{' each' * (len(folds) > 1)}, "
            f"{len(results.main)} test in all (test set {run.protocol.test_set})",
        ),
        (
            "Clips",
            f"{corpus.clips} ({corpus.minutes:.1f} minutes): {corpus.with_video} with video, "
            f"{corpus.with_sound} with sound, {corpus.unlabelled} without an emotion, "
            f"{corpus.used} that the system trains and is tested on, "
            f"{len(corpus.quarantined)} quarantined",
        ),
        ("Speakers", f"{len(corpus.speakers)}: {_listed(_counts(corpus.speakers))} clips"),
        ("Emotions", f"{_listed(_counts(corpus.emotions))} clips"),
        (
            "Weights before training",
            f"audio networks {run.method.audio_weights}, face detector "
            f"{run.method.detector_weights}",
        ),
        ("Seeds", _listed(_counts(run.seeds))),
        ("Preset", _preset(run)),
    ]


def when_and_where(occasion: Occasion) -> Sequence[tuple[str, str]]:
    """The last training as label and value."""
    commit = occasion.commit[:COMMIT_DIGITS] or "not under Git"
    changed = [f"{key} {new} (commit: {old})" for key, (old, new) in occasion.changed.items()]
    return [
        ("Trained", f"{occasion.began:%Y-%m-%d %H:%M} UTC"),
        ("Commit", commit + (", with uncommitted changes" if occasion.dirty else "")),
        ("Params changed since the commit", "; ".join(changed) or "none"),
        ("Corpus folder", occasion.corpus_root),
        ("Hardware", machine(occasion.hardware)),
        ("Versions", ", ".join(f"{name} {number}" for name, number in occasion.versions.items())),
    ]


def stamp(occasions: Sequence[Occasion]) -> str:
    """Date and commit of the training, for the head of the page; "" where neither is known."""
    last = training_of(occasions)
    if last is None:
        return ""
    commit = f", commit {last.commit[:COMMIT_DIGITS]}" if last.commit else ""
    return f"{last.began:%d %B %Y}{commit}{' with uncommitted changes' if last.dirty else ''}"


def training_of(occasions: Sequence[Occasion]) -> Occasion | None:
    """When `fuse` last ran."""
    return next((one for one in occasions if one.stage == "fuse"), None)


def machine(hardware: Hardware) -> str:
    """The machine in words."""
    return (
        f"{hardware.cpu}, {counted(hardware.cores, 'core')}, {hardware.memory_gib:.0f} GiB memory, "
        f"{hardware.gpu or 'no GPU'}"
    )


def _preset(run: Run) -> str:
    if run.preset is None:
        return "none for this corpus"
    changed = [f"{key} {new} (preset: {old})" for key, (old, new) in run.preset.differing.items()]
    return f"{run.preset.name}, {'except ' + '; '.join(changed) if changed else 'unchanged'}"


def _method(run: Run) -> str:
    """The switches that matter to the system."""
    method, parts = run.method, []
    if SYSTEMS[run.system].fuses_panns:
        parts.append(f"{' and '.join(method.embeddings)} side by side")
    if SYSTEMS[run.system].reads_panns:
        parts.append(f"{'with' if method.handcrafted else 'without'} hand-crafted features")
    if "face_features" in SYSTEMS[run.system].reads:
        loss = {"kl": "KL", "smooth_l1": "smooth L1"}[method.box_loss]
        parts += [
            f"{method.backbone} detector, {loss} box loss",
            "variance voting" if method.voting else "NMS alone",
            "frames weighted by speech" if method.speech_weighting else "all frames alike",
        ]
    if SYSTEMS[run.system].can_be_joint:
        parts.append("joint training" if method.joint else "staged training")
    if SYSTEMS[run.system].fuses:
        parts += [f"head {HEADS[method.head]}", f"answer of the {answer(run)}"]
    return ", ".join(parts) or "as published"


def _counts(values: Mapping[str, int]) -> list[str]:
    return [f"{name} {count}" for name, count in values.items()]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown + (", and others" if len(names) > NAMES_SHOWN else "")


def _speakers_meaning(results: Results) -> str:
    folds = results.run.protocol.folds
    known, tested = sum(fold.known for fold in folds), sum(fold.speakers for fold in folds)
    if not known:
        return (
            "No test speaker was in training, so the figure speaks of new speakers, as far as "
            f"{len({*results.main.speaker})} can: look at the spread between them before the mean."
        )
    who = "All" if known == tested else f"{known} of {tested}"
    return (
        f"{who} test speakers were in training too, so part of the figure may come from knowing "
        "the voice and the face. Run `dvc exp run -S split.protocol=loso` for speakers never met "
        "in training; expect less."
    )


def _labels_meaning(run: Run) -> str:
    source = str(run.params["corpus"]["label_source"])
    return (
        f"{LABELS[source]} is not knowing what a person feels, and none of this is evidence "
        "that it would work in a conversation, on the street or at work. Do not use it to judge "
        "people."
    )
