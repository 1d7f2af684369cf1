"""Recordings of a corpus as clips: one index function per corpus, and the order of its emotions."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.clips import EMOTIONS, Index
from pipeline.corpora.cremad import index_cremad
from pipeline.corpora.folder import index_own
from pipeline.corpora.params import CorpusParams
from pipeline.corpora.ravdess import index_ravdess
from pipeline.corpora.savee import index_savee
from pipeline.corpora.twins import mark_twins
from pipeline.errors import CorpusError
from pipeline.work.progress import counted

_INDEXERS: dict[str, Callable[[CorpusParams], Index]] = {
    "savee": lambda params: index_savee(params.root),
    "demo": lambda params: index_savee(params.root),  # it is written in SAVEE's layout
    "ravdess": lambda params: index_ravdess(params.root),
    "cremad": lambda params: index_cremad(params.root, params.label_source == "crowd"),
    "folder": lambda params: index_own(params.root, own_names(params)),
}

logger = logging.getLogger(__name__)


def index_corpus(params: CorpusParams) -> Index:
    """List the clips of a corpus by file names; only what may be a copy of another is opened.

    Raises:
        CorpusError: the root is missing or holds nothing that looks like a recording, its emotions
            have names that only `corpus.emotions` can put in order, or it names one without clips.
    """
    index = _INDEXERS[params.name](params)
    if not index.clips and not index.rejects:
        raise CorpusError(
            f"corpus.root: {params.root}: no recording found; expected the layout described in "
            f"pipeline/corpora for {params.name}; check corpus.root and corpus.name"
        )
    return mark_twins(_in_order(index, params))


def own_names(params: CorpusParams) -> Sequence[str]:
    """Names of emotions in their order: those of `corpus.emotions`, else the canonical ones."""
    return EMOTIONS if params.emotions == "auto" else params.emotions


def _in_order(index: Index, params: CorpusParams) -> Index:
    """The clips of the emotions that are asked for, each with the place of its emotion."""
    order = own_names(params)
    found = Counter(clip.emotion for clip in index.clips if clip.emotion)
    others = {name: number for name, number in sorted(found.items()) if name not in order}
    if params.emotions == "auto":
        if others:
            names = ", ".join(found)
            raise CorpusError(
                f"corpus.emotions: auto knows {', '.join(EMOTIONS)}, got {_counted(others)} below "
                f"{params.root}; set corpus.emotions to the names in your order, such as "
                f"[{names}], or move these recordings out of corpus.root"
            )
    elif absent := [name for name in order if name not in found]:
        raise CorpusError(
            f"corpus.emotions: no clip shows {', '.join(absent)}; found {_counted(found)} below "
            f"{params.root}; correct or remove what is not there"
        )
    elif others:
        logger.warning("corpus.emotions leaves out %s", _counted(others))
    rank = {"": 0, **{name: place for place, name in enumerate(order)}}
    clips = [replace(c, rank=rank[c.emotion]) for c in index.clips if c.emotion in rank]
    return Index(clips, index.rejects)


def _counted(emotions: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({counted(number, 'clip')})" for name, number in emotions.items())
