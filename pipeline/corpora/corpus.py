"""Recordings of a corpus as clips: one index function per corpus."""

from collections.abc import Callable
from pathlib import Path

from pipeline.clips import Index
from pipeline.corpora.cremad import index_cremad
from pipeline.corpora.folder import index_own
from pipeline.corpora.params import CorpusParams
from pipeline.corpora.ravdess import index_ravdess
from pipeline.corpora.savee import index_savee
from pipeline.errors import CorpusError

_INDEXERS: dict[str, Callable[[Path], Index]] = {
    "savee": index_savee,
    "demo": index_savee,  # the demo corpus is written in SAVEE's layout
    "ravdess": index_ravdess,
    "cremad": index_cremad,
    "folder": index_own,
}


def index_corpus(params: CorpusParams) -> Index:
    """List the clips of a corpus by file names alone; no recording is opened.

    Raises:
        CorpusError: the root is missing or holds nothing that looks like a recording.
    """
    index = _INDEXERS[params.name](params.root)
    if not index.clips and not index.rejects:
        raise CorpusError(
            f"corpus.root: {params.root}: no recording found; expected the layout described in "
            f"pipeline/corpora for {params.name}; check corpus.root and corpus.name"
        )
    return index
