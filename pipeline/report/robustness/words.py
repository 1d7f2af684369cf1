"""What the figures of robustness say, in words that follow from the figures alone."""

from collections.abc import Iterable

from pipeline.report.robustness.figures import Robustness, Tested, Trend
from pipeline.report.words import CORPORA
from pipeline.systems import SYSTEMS
from pipeline.work.progress import counted

OVERSURE = 0.2
"""By how much confidence must exceed accuracy to be named."""

MEANING = (
    "Every clip is answered as it is and under each condition and severity; differences are "
    "between answers to the same clip. Bands and brackets are 95% intervals: Wilson's of the "
    "accuracy, Newcombe's of its change. A clip that the model cannot answer counts as wrong, "
    "with a uniform guess.",
    "Whether a value moves with the damage is Kendall's rank correlation between severity and the "
    "value of a clip, the clean clip first, averaged over clips: -1 where it falls at every step "
    "in every clip, +1 where it rises. It moves where the 95% interval of the mean (Student's, "
    "over clips, from eight speakers on over speakers) leaves out 0. This tells the direction; the "
    "curves tell the size. Sigma is that of faces that were found; where a face is lost there is "
    "none.",
    "Levels of noise are of the whole clip, pauses included. Reverberation is noise under an "
    "exponential decay, with as much energy as the direct sound; the seconds are its fall by 60 "
    "dB. Blur is measured in faces, a cover is one third of the face's box, and a lost frame shows "
    "the one before it again.",
    "Attacks know the model and the true emotion, and change each sample or grey level by at most "
    "the radius: in dB of the clip's largest sample, in grey levels of 255. FGSM is one step, PGD "
    "five. Their gradient goes through the sound networks and cepstra, and through the detector's "
    "features of the face; which frames, which boxes and the weights by speech activity are held "
    "while it is followed. An attack that followed these too could do more. The attacked clip is "
    "answered by the whole model, frames in whole grey levels.",
    "Small test sets tell large effects only. Synthetic damage is not a street or an old camera.",
)


def subtitle(found: Robustness) -> str:
    """What was tried, on what."""
    clips, speakers = counted(found.clips, "clip"), counted(found.speakers, "speaker")
    tried = counted(len(found.conditions), "condition")
    trained = CORPORA.get(found.corpus, found.corpus)
    title = SYSTEMS[found.system].title
    return (
        f"{title[0].upper()}{title[1:]}, trained on {trained}, asked about {found.source}: {clips} "
        f"of {speakers} under {tried}."
    )


def warnings(found: Robustness) -> list[str]:
    """What a reader must know of the clips."""
    if not found.learned:
        return []
    return [
        f"The model was trained on {found.learned} of the {counted(found.clips, 'clip')}: its "
        "clean answers are better than those for clips of others would be."
    ]


def findings(found: Robustness) -> list[str]:
    """What happens to accuracy, confidence and sigma, a sentence or two each."""
    conditions = found.conditions
    falls = [one for one in conditions if one.severest.change_95.high < 0]
    confidence = {one.title: one.confidence for one in conditions if one.confidence}
    both = [one for one in falls if one.confidence and one.confidence.direction == "falls"]
    lines = [
        f"Accuracy falls, beyond its interval, at the severest degree of "
        f"{len(falls)} of {len(conditions)} conditions{_names(one.title for one in falls)}.",
        f"Confidence {_moves(confidence)}. Where accuracy falls, confidence falls too in "
        f"{len(both)} of {len(falls)} conditions.",
    ]
    oversure = [one for one in conditions if _gap(one) > max(OVERSURE, _clean_gap(found))]
    if oversure:
        worst = max(oversure, key=_gap)
        degree = worst.severest
        lines.append(
            f"Mean confidence exceeds accuracy by more than {OVERSURE:.0%} at the severest degree "
            f"of {len(oversure)} of {len(conditions)} conditions, most under {worst.title} "
            f"({degree.severity}): {degree.confidence:.0%} confident, {degree.accuracy:.0%} right. "
            "There the confidence does not warn."
        )
    sigma = {one.title: one.sigma for one in conditions if one.sigma}
    if sigma:
        lines.append(f"Sigma of the face's box {_moves(sigma)}.")
    return lines


def _gap(tested: Tested) -> float:
    return tested.severest.confidence - tested.severest.accuracy


def _clean_gap(found: Robustness) -> float:
    return found.clean.confidence - found.clean.accuracy


def _moves(trends: dict[str, Trend]) -> str:
    """In how many conditions a value falls, rises, or neither."""
    parts = []
    for direction in ("falls", "rises"):
        own = [title for title, trend in trends.items() if trend.direction == direction]
        parts.append(f"{direction} with severity in {len(own)}{_names(own)}")
    rest = sum(not trend.direction for trend in trends.values())
    return f"{parts[0]} and {parts[1]} of {len(trends)} conditions; in {rest} neither is certain"


def _names(titles: Iterable[str]) -> str:
    text = ", ".join(titles)
    return f" ({text})" if text else ""
