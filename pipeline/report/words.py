"""What the report says in plain words: notices, what was run, what the figures mean."""

from collections.abc import Sequence

from pipeline.report.run import Facts, Run
from pipeline.systems import SYSTEMS

DEMO = "demo"
NAMES_SHOWN = 12

KINDS = {"av": "Audio-visual", "audio": "Audio", "visual": "Visual"}
"""What a system reads, by its branch."""

CORPORA = {
    DEMO: "the embedded demo corpus (drawn faces, synthetic voices)",
    "savee": "SAVEE",
    "ravdess": "RAVDESS",
    "cremad": "CREMA-D",
    "folder": "a folder of recordings",
}


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
            "the machinery works. They say nothing about people."
        )
    if audio_weights == "untrained" and _reads_embeddings(system):
        found.append(
            "The audio network is untrained: its weights are random, so the audio figures are not "
            "those of the published networks."
        )
    return found


def protocol(facts: Facts) -> str:
    """How test clips were held out, as the end of a sentence."""
    split = facts.split
    return {
        "paper": f"{split.test_per_emotion} random clips of each emotion held out for test (the "
        "paper's split: test speakers are also in training)",
        "loso": "one speaker left out at a time; no test speaker was heard or seen in training",
        "loso_text": "one speaker left out at a time, and none of the sentences tested was trained",
        "folds": f"the folds of {split.folds_csv}",
    }[split.protocol]


def subtitle(run: Run) -> str:
    """One sentence: what recognised what, on which clips."""
    corpus = CORPORA.get(run.facts.corpus, run.facts.corpus)
    speakers = len({*run.main.speaker})
    kind = KINDS[SYSTEMS[run.facts.system].branch]
    return (
        f"{kind} emotion recognition on {corpus}: {len(run.main.emotions)} emotions, "
        f"{len(run.main)} test clips of {speakers} speaker{'s' if speakers != 1 else ''}."
    )


def meaning(run: Run) -> list[str]:
    """What the figures do and do not mean, a few plain paragraphs."""
    interval = run.metrics["accuracy_95"]
    clips = len(run.main)
    return [
        f"Accuracy (WA) is the share of the {clips} test clips whose emotion was named; UA is the "
        "mean over emotions, so that a common emotion does not count more. The interval says how "
        f"far another draw of clips by the same speakers could move the figure: from "
        f"{interval['low']:.1%} to {interval['high']:.1%} in 95 of 100 draws. It does not cover "
        "other speakers, rooms or cameras, nor another training seed.",
        _speakers_meaning(run),
        "The corpus holds emotions shown on request, in short clips. Naming the label that an "
        "actor was given is not knowing what a person feels, and none of this is evidence that it "
        "would work in a conversation, on the street or at work. Do not use it to judge people.",
    ]


def flags(run: Run) -> Sequence[tuple[str, str]]:
    """The run as label and value, for the table of what was run."""
    facts, records = run.facts, run.records
    with_video = sum(record.has_video for record in records)
    with_audio = sum(record.has_audio for record in records)
    minutes = sum(record.duration_s for record in records) / 60
    counts = {e: sum(record.emotion == e for record in records) for e in run.main.emotions}
    return [
        ("System", f"{facts.system}: {SYSTEMS[facts.system].title}"),
        ("Method", _method(facts)),
        ("Corpus", CORPORA.get(facts.corpus, facts.corpus)),
        ("Protocol", f"{facts.split.protocol}: {protocol(facts)}"),
        ("Folds", f"{len({*run.main.fold})}, {len(run.main)} test clips in all"),
        (
            "Clips",
            f"{len(records)} ({minutes:.1f} minutes): {with_video} with video, {with_audio} with "
            f"sound, {len(run.rejects)} quarantined",
        ),
        ("Speakers", _listed(sorted({record.speaker for record in records}))),
        ("Emotions", ", ".join(f"{emotion} {count}" for emotion, count in counts.items())),
        ("Weights", f"audio {facts.audio_weights}, detector {facts.detector_weights}"),
    ]


def _reads_embeddings(system: str) -> bool:
    return "embeddings" in SYSTEMS[system].reads


def _method(facts: Facts) -> str:
    """The switches that matter to the system."""
    method, said = facts.method, []
    if _reads_embeddings(facts.system):
        said.append(f"{'with' if method.handcrafted else 'without'} hand-crafted features")
    if "face_features" in SYSTEMS[facts.system].reads:
        loss = {"kl": "KL", "smooth_l1": "smooth L1"}[method.box_loss]
        said += [
            f"{method.backbone} detector, {loss} box loss",
            "variance voting" if method.voting else "NMS alone",
            "frames weighted by speech" if method.speech_weighting else "all frames alike",
        ]
    if SYSTEMS[facts.system].can_be_joint:
        said.append("joint training" if method.joint else "staged training")
    return ", ".join(said) or "as published"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{len(names)}: {shown}" + (", and others" if len(names) > NAMES_SHOWN else "")


def _speakers_meaning(run: Run) -> str:
    if run.facts.split.protocol in ("loso", "loso_text"):
        return (
            "No test speaker was in training, so the figure speaks of new speakers, as far as "
            f"{len({*run.main.speaker})} can: look at the spread between them before the mean."
        )
    return (
        "Test speakers may also be in training under this protocol, so part of the figure may be "
        "knowing the voice and the face. Run `dvc exp run -S split.protocol=loso` for speakers "
        "never met: one published audio-visual model on RAVDESS falls from 95.8% to 48.1% there."
    )
