"""Recordings that lie in a corpus more than once, told by their bytes.

A second copy of a clip's file is used once (`pipeline.corpora.index`). Clips of different ids that
hold the same recording are twins: what trains is never the twin of what is tested
(`pipeline.splits`), and twins of different emotions are refused.
"""

import filecmp
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.clips import Clip, Index, Reject
from pipeline.files import file_digest
from pipeline.work.progress import counted

logger = logging.getLogger(__name__)


def same_bytes(first: Path, second: Path) -> bool:
    """Whether two files hold the same recording; empty ones hold none."""
    return first.stat().st_size > 0 and filecmp.cmp(first, second, shallow=False)


def mark_twins(index: Index) -> Index:
    """The index with the twins of each clip; only files of equal size are opened.

    Clips that share a file with a third are twins too. Twins that are labelled differently become
    rejects.
    """
    groups = [group for group in _groups(index.clips) if len(group) > 1]
    unlike = [group for group in groups if len({clip.emotion for clip in group} - {""}) > 1]
    twin_of = {clip.clip_id: group[0].clip_id for group in groups for clip in group}
    refused = {clip.clip_id for group in unlike for clip in group}
    kept = [
        replace(clip, twin=twin_of.get(clip.clip_id, ""))
        for clip in index.clips
        if clip.clip_id not in refused
    ]
    alike = [group for group in groups if group not in unlike]
    if alike:
        first, second = alike[0][:2]
        across = sum(len({clip.speaker for clip in group}) > 1 for group in alike)
        logger.warning(
            "%s in %s hold the same recording under different ids, %d of them under different "
            "speakers; the first are %s and %s; they stay on one side of every split",
            counted(sum(map(len, alike)), "clip"), counted(len(alike), "group"), across,
            first.clip_id, second.clip_id,
        )  # fmt: skip
    return Index(kept, [*index.rejects, *(_reject(c, group) for group in unlike for c in group)])


def _groups(clips: Iterable[Clip]) -> list[list[Clip]]:
    """Clips by what they share, each group and all groups in order of ids."""
    clips = sorted(clips, key=lambda clip: clip.clip_id)
    contents = _contents([path for clip in clips for path in _files(clip)])
    holders: dict[str, list[Clip]] = {}
    for clip in clips:
        own = {contents[path] for path in _files(clip)}
        joined = {id(holders[one]): holders[one] for one in own if one in holders}
        group = [*(other for others in joined.values() for other in others), clip]
        holders |= {contents[path]: group for one in group for path in _files(one)}
    groups = {id(group): sorted(group, key=lambda c: c.clip_id) for group in holders.values()}
    return sorted(groups.values(), key=lambda group: group[0].clip_id)


def _contents(paths: Sequence[Path]) -> dict[Path, str]:
    """What tells the bytes of each file: its digest, or its name where no other has its size."""
    by_size: dict[int, set[Path]] = {}
    for path in paths:
        by_size.setdefault(path.stat().st_size, set()).add(path)
    return {
        path: file_digest(path) if size > 0 and len(same) > 1 else str(path)
        for size, same in by_size.items()
        for path in same
    }


def _files(clip: Clip) -> list[Path]:
    return [path for path in (clip.video, clip.audio) if path is not None]


def _reject(clip: Clip, group: Sequence[Clip]) -> Reject:
    file = _files(clip)[0]
    others = ", ".join(
        f"{_files(one)[0]} ({one.emotion})" for one in group if one.clip_id != clip.clip_id
    )
    return Reject(
        clip.clip_id,
        str(file),
        f"{file} ({clip.emotion}): the same recording as {others}; expected one emotion for it; "
        "correct the labels or remove all but one",
    )
