"""`avemo corpus`: what a folder of recordings holds, before any work."""

from pathlib import Path

from pipeline.corpora.folder import TABLE
from pipeline.corpora.survey import DRAFT, describe, survey, takes_draft, write_draft
from pipeline.files import NOT_WRITABLE


def main(root: Path, name: str | None) -> list[str]:
    """Lines to print; a draft of `clips.csv` is left in a folder of one's own that has none.

    Raises:
        CorpusError: no such folder, no recording in it, or an unknown name.
    """
    found = survey(root, name)
    lines = describe(found)
    try:
        draft = write_draft(found)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        lines.append(f"draft: none can be written into {root}: {error.strerror}")
    else:
        if draft:
            lines.append(f"draft: {draft}; correct it and rename it to {TABLE} to use it")
        elif takes_draft(found):
            lines.append(
                f"draft: {root / DRAFT} lies there already and was kept; rename it to {TABLE} to "
                "use it, or remove it for a new one"
            )
    return lines
