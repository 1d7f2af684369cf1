"""Stage `demo`: make the embedded demo corpus, or only a note where another corpus is used.

Inputs: none. Outputs: `data/demo`. Params: `corpus`, `demo`.
"""

import time
from pathlib import Path

from pipeline.corpora.demo.corpus import build, build_nothing
from pipeline.corpora.demo.params import DemoParams
from pipeline.corpora.params import CorpusParams
from pipeline.params import load_section
from pipeline.work.progress import counted, print_summary
from stages.boundary import run


def main(out: Path) -> None:
    """Make the embedded demo corpus.

    Args:
        out: folder for the corpus, in SAVEE's layout.
    """
    started = time.monotonic()
    corpus = load_section("corpus", CorpusParams)
    params = load_section("demo", DemoParams)
    if corpus.name != "demo":
        build_nothing(out, corpus.name)
        print_summary("demo", f"not needed for {corpus.name}", started)
        return
    products = build(out, params)
    print_summary(
        "demo", f"{counted(len(products.folders), 'clip')}, {products.cached} from cache", started
    )


if __name__ == "__main__":
    run(main)
