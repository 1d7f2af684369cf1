"""All clips under all conditions, and the figures of it.

Clips are kept in the clip cache by all that their answers depend on, so that a call which was
stopped goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.device import CPU, device_facts
from models.recognition.recognizer import Recognizer
from models.robustness.conditions import CONDITIONS, Condition, Part
from models.robustness.sound import TALKERS
from models.robustness.trial import ANSWERS, Source, Trial, answer_trial
from models.robustness.white_box import WhiteBox, unfollowed
from models.saved_model import CARD
from pipeline.errors import CorpusError, ExportError, ParamsError
from pipeline.report.robustness.answers import read_answers
from pipeline.report.robustness.figures import AnsweredClip, LeftOut, Robustness, Scorer, Tried
from pipeline.systems import SYSTEMS
from pipeline.work.cache import ClipCache, Job, Products

PATIENT = "pgd"
"""What the names of conditions begin with that a quick call leaves out."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A clip to be answered: its id, who speaks, the emotion, where it is."""

    clip_id: str
    speaker: str
    emotion: str
    source: Source


def evaluate(
    model: Path,
    subjects: Sequence[Subject],
    source: str,
    names: Sequence[str],
    quick: bool,
    seed: int,
) -> Robustness:
    """How a model answers clips under damage.

    Args:
        model: its folder.
        subjects: the clips.
        source: what they are, in words.
        names: of conditions; none means all that the model can be tried under.
        quick: the mildest and the severest degree of each condition, and no PGD.
        seed: of all that is drawn.

    Raises:
        ParamsError: an unknown condition.
        WeightsError: the model cannot be read.
        CorpusError: no clip has an emotion that the model knows, or none could be answered.
    """
    chosen = _chosen(names, quick)
    recognizer = Recognizer.load(model, CPU)
    card = recognizer.card
    known = [one for one in subjects if one.emotion in card.emotions]
    if not known:
        raise CorpusError(
            f"{source}: no clip shows one of the model's emotions, {', '.join(card.emotions)}; "
            "give clips that do"
        )
    conditions, absent = _applicable(recognizer, chosen, len(known))
    products = _tried(model, recognizer, known, conditions, seed)
    left_out = [
        LeftOut(clip_id=one.clip_id, reason=f"{one.emotion}, which the model does not know")
        for one in subjects
        if one.emotion not in card.emotions
    ]
    left_out += [LeftOut(clip_id=one.clip_id, reason=one.reason) for one in products.rejects]
    if not products.folders:
        raise CorpusError(f"{source}: no clip could be answered, the first: {left_out[-1].reason}")
    answered = [
        AnsweredClip(
            one.clip_id,
            one.speaker,
            card.emotions.index(one.emotion),
            read_answers(products.folders[one.clip_id] / ANSWERS),
        )
        for one in known
        if one.clip_id in products.folders
    ]
    below = card.inputs.predict.abstain_below
    scorer = Scorer(answered, card.emotions, card.branches[0], below)
    return Robustness(
        system=card.system,
        corpus=card.corpus,
        audio_weights=card.inputs.embed.weights,
        emotions=card.emotions,
        source=source,
        branch=card.branches[0],
        clips=len(answered),
        speakers=len({one.speaker for one in answered}),
        learned=len({one.clip_id for one in answered} & set(card.training_clips)),
        abstain_below=below,
        seed=seed,
        clean=scorer.clean(),
        conditions=tuple(
            scorer.tested(Tried(name, one.title, one.kind, one.labels))
            for name, one in conditions.items()
        ),
        absent=absent,
        left_out=tuple(left_out),
    )


def _chosen(names: Sequence[str], quick: bool) -> dict[str, Condition]:
    if unknown := [name for name in names if name not in CONDITIONS]:
        known = ", ".join(CONDITIONS)
        raise ParamsError(f"--conditions: got {unknown[0]!r}, expected some of {known}")
    wanted = names or [one for one in CONDITIONS if not (quick and one.startswith(PATIENT))]
    return {name: one.ends if quick else one for name, one in CONDITIONS.items() if name in wanted}


def _applicable(
    recognizer: Recognizer, conditions: Mapping[str, Condition], clips: int
) -> tuple[dict[str, Condition], dict[str, str]]:
    """The conditions that a model can be tried under, and why it cannot be under others."""
    absent: dict[str, str] = {}
    for name, condition in conditions.items():
        if reason := _obstacle(recognizer, name, condition, clips):
            absent[condition.title] = reason
    if any(one.kind == "attack" for one in conditions.values() if one.title not in absent):
        try:
            WhiteBox(recognizer)
        except ExportError as error:
            attacks = [one.title for one in conditions.values() if one.kind == "attack"]
            absent |= dict.fromkeys(attacks, str(error))
    return {n: one for n, one in conditions.items() if one.title not in absent}, absent


def _obstacle(recognizer: Recognizer, name: str, condition: Condition, clips: int) -> str:
    read: dict[Part, bool] = {
        "sound": "audio" in SYSTEMS[recognizer.card.system].modalities,
        "picture": recognizer.sees,
    }
    unread = [part for part in condition.parts if not read[part]]
    if unread:
        return f"the model reads no {unread[0]}"
    if condition.kind == "missing" and sum(read.values()) == 1:
        return f"the model reads nothing but {condition.parts[0]}"
    if name == "babble" and clips < 2:
        return "there is no other clip to take voices from"
    for part in condition.parts if condition.kind == "attack" else ():
        if inputs := unfollowed(recognizer, part):
            return f"no gradient is known through its input {', '.join(inputs)}"
    return ""


def _tried(
    model: Path,
    recognizer: Recognizer,
    subjects: Sequence[Subject],
    conditions: Mapping[str, Condition],
    seed: int,
) -> Products:
    card = recognizer.card
    severities = {name: one.severities for name, one in conditions.items()}
    steps = sum(map(len, severities.values()))
    jobs = []
    for place, one in enumerate(subjects):
        voices = _voices(subjects, place, seed) if "babble" in conditions else ()
        label = card.emotions.index(one.emotion)
        trial = Trial(model, one.clip_id, label, one.source, voices, severities, seed)
        jobs.append(Job(one.clip_id, trial, steps=steps))
    files = [model / CARD, *(model / name for name in card.files)]
    cache = ClipCache(
        "robustness", answer_trial, facts=device_facts(), files=files, ignore=("model",)
    )
    return cache.run(jobs, "robustness", step="version")


def _voices(subjects: Sequence[Subject], place: int, seed: int) -> tuple[Source, ...]:
    """Other clips, drawn, of other speakers where there are any."""
    own = subjects[place]
    others = [one for one in subjects if one.speaker != own.speaker]
    others = others or [one for one in subjects if one is not own]
    rng = np.random.default_rng((seed, place))
    drawn = rng.permutation(len(others))[:TALKERS]
    return tuple(others[number].source for number in sorted(drawn))
