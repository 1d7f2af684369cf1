"""What a corpus holds of the world, in words, for the card of a model that has learned from it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class About:
    """What a model inherits from a corpus.

    Attributes:
        recordings: whose, and how they came about.
        lacks: what a model that learned from them alone has never met.
        licence: of the recordings, and what follows for a model.
    """

    recordings: str
    lacks: str
    licence: str


_STUDIO = "feelings that were not acted, children, several voices at once, noise, telephones"


ABOUT: Mapping[str, About] = {
    "demo": About(
        "the embedded demo corpus, drawn faces and synthetic voices: answers say nothing about "
        "people",
        "people",
        "that of this project",
    ),
    "savee": About(
        "SAVEE (University of Surrey): four men, native speakers of British English, who act "
        "emotions in a laboratory, with blue markers on their faces",
        f"{_STUDIO}, women, other accents and languages, faces without markers",
        "for research; neither the recordings nor parts of them may be passed on",
    ),
    "ravdess": About(
        "RAVDESS, speech (Livingstone and Russo, 2018, doi:10.1371/journal.pone.0196391): "
        "professional actors from Toronto, who speak two sentences of North American English in a "
        "studio and act each emotion on request; they are 21 to 33 years old",
        f"{_STUDIO}, the old, other sentences, accents and languages",
        "CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/): the authors are to "
        "be named, use is non-commercial, and what is built on it is shared alike; the weights "
        "learned from it are offered on these terms, for research",
    ),
    "cremad": About(
        "CREMA-D (Cao et al., 2014, doi:10.1109/TAFFC.2014.2336244): actors, who speak twelve "
        "sentences of American English and act each emotion on request",
        f"{_STUDIO}, surprise, other sentences and languages",
        "Open Database License 1.0",
    ),
    "folder": About(
        "recordings of one's own, labelled by the names of their files",
        "whatever those recordings do not hold",
        "that of those recordings",
    ),
}
"""By `corpus.name`."""
