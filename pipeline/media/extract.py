"""From an indexed corpus to its usable clips: jobs for the cache, and who is quarantined."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.clips import Clip, ClipRecord, Index, Reject, count_unusable, labelled
from pipeline.errors import CorpusError
from pipeline.foreign import printable
from pipeline.media.decode import Decoded, ExtractJob, extract_clip, read_decoded
from pipeline.media.ffmpeg import find_ffmpeg
from pipeline.media.params import ExtractParams
from pipeline.work.cache import ClipCache, Job, Products
from pipeline.work.progress import counted, listed

SHOWN = 5
"""Quarantined clips that are named on stderr; all stand in `quarantine.csv`."""

UNLIKE_SHARE = 0.2
UNLIKE_S = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Extraction:
    """Usable clips, their products, and those quarantined."""

    records: list[ClipRecord]
    products: Products
    rejects: list[Reject]


def extract_corpus(
    index: Index, modalities: str, require: str, params: ExtractParams
) -> Extraction:
    """Decode all clips of an index and quarantine those that cannot be used.

    Args:
        index: from `index_corpus`.
        modalities: `corpus.modalities`; decides what is decoded.
        require: `corpus.require`; whether a clip must have all of it.
        params: section `extract`.
    """
    cache = ClipCache(
        "extract",
        extract_clip,
        facts={"ffmpeg": find_ffmpeg().version},
        # they decide about the corpus, not about what a clip yields
        ignore=("max_bad_fraction", "max_duration_s"),
    )
    products = cache.run([_job(clip, modalities, params) for clip in index.clips], "extract")
    by_id = {clip.clip_id: clip for clip in index.clips}
    decoded = [
        replace(one, record=labelled(one.record, by_id[one.record.clip_id]))
        for one in map(read_decoded, products.folders.values())
    ]
    lacking = list(_lacking(decoded, index.clips, modalities, require))
    lacking += _too_long(decoded, by_id, params.max_duration_s)
    out = {reject.clip_id for reject in lacking}
    kept = [one for one in decoded if one.record.clip_id not in out]
    _warn_of_losses(kept)
    _warn_of_lengths([one.record for one in kept])
    _say_what_is_lacking([one.record for one in kept])
    return Extraction(
        records=sorted((one.record for one in kept), key=lambda record: record.clip_id),
        products=products.only({one.record.clip_id for one in kept}),
        rejects=[_printable(one) for one in (*index.rejects, *products.rejects, *lacking)],
    )


def check_quarantine(extraction: Extraction, max_bad_fraction: float) -> None:
    """Name the first quarantined clips on stderr, and refuse a corpus that is mostly bad.

    Raises:
        CorpusError: no clip is left, or more than `max_bad_fraction` (0-1) are quarantined.
    """
    rejects = extraction.rejects
    for reject in rejects[:SHOWN]:
        logger.warning("quarantined %s: %s", reject.clip_id, reject.reason)
    if len(rejects) > SHOWN:
        logger.warning("and %d more quarantined, see quarantine.csv", len(rejects) - SHOWN)
    bad = count_unusable(rejects, extraction.products.folders)
    total = bad + len(extraction.records)
    if not extraction.records or bad > max_bad_fraction * total:
        raise CorpusError(
            f"extract: {bad} of {counted(total, 'clip')} quarantined, expected at most a share of "
            f"{max_bad_fraction:g} and one clip left; see data/quarantine.csv; mend the recordings "
            "or raise extract.max_bad_fraction"
        )


def _too_long(
    decoded: Sequence[Decoded], clips: Mapping[str, Clip], most_s: float
) -> Iterator[Reject]:
    for one in decoded:
        record, clip = one.record, clips[one.record.clip_id]
        length_s = max(record.picture_s, record.sound_s)
        if length_s > most_s:
            file = str(clip.video or clip.audio)
            yield Reject(
                record.clip_id,
                file,
                f"{file}: lasts {length_s:.1f} s, expected at most {most_s:g}; cut it into "
                "utterances, each with its emotion, or raise extract.max_duration_s",
            )


def _job(clip: Clip, modalities: str, params: ExtractParams) -> Job:
    """Work on the files of a clip alone: what it is labelled as decodes nothing again."""
    picture = modalities != "audio"
    sound = modalities != "video"
    read = Clip(
        clip.clip_id,
        speaker="",
        emotion="",
        sentence="",
        video=clip.video if picture or clip.audio is None else None,
        audio=clip.audio if sound else None,
    )
    return Job(clip.clip_id, ExtractJob(read, picture, sound, params))


def _printable(reject: Reject) -> Reject:
    """A reject whose file may have a name that is not UTF-8, which no table or page could hold."""
    return Reject(reject.clip_id, printable(reject.file), printable(reject.reason))


def _warn_of_losses(decoded: Sequence[Decoded]) -> None:
    """Name the first clips that are used although a part of them does not decode."""
    damaged = [f"{one.record.clip_id} ({one.lost_share:.1%})" for one in decoded if one.lost_share]
    if damaged:
        logger.warning(
            "frames or sound of %s do not decode whole: %s; the rest is used",
            counted(len(damaged), "clip"), listed(damaged),
        )  # fmt: skip


def _warn_of_lengths(records: Sequence[ClipRecord]) -> None:
    """Name the first clips whose picture and sound differ in length: they may not belong together.

    By `UNLIKE_SHARE` of the longer one, or by `UNLIKE_S`.
    """
    unlike = []
    for record in records:
        shown_s, heard_s = record.picture_s, record.sound_s
        bound_s = min(UNLIKE_SHARE * max(shown_s, heard_s), UNLIKE_S)
        if record.has_video and record.has_audio and abs(shown_s - heard_s) > bound_s:
            unlike.append(f"{record.clip_id} ({shown_s:.2f} and {heard_s:.2f} s)")
    if unlike:
        logger.warning(
            "picture and sound of %s differ in length: %s; both are used whole; see whether they "
            "belong together", counted(len(unlike), "clip"), listed(unlike),
        )  # fmt: skip


def _say_what_is_lacking(records: Sequence[ClipRecord]) -> None:
    """Warn where some clips have what others lack: systems that need it leave them out."""
    for what, lacking in (
        ("video", [r.clip_id for r in records if not r.has_video]),
        ("sound", [r.clip_id for r in records if not r.has_audio]),
    ):
        if lacking and len(lacking) < len(records):
            logger.warning(
                "no %s in %d of %s: %s; what lacks it serves systems that need none",
                what, len(lacking), counted(len(records), "clip"), listed(lacking),
            )  # fmt: skip


def _lacking(
    decoded: Sequence[Decoded], clips: Sequence[Clip], modalities: str, require: str
) -> Iterator[Reject]:
    """Clips without a modality that the corpus has (`auto`: that any of its clips has).

    Under `any`, one that has another such modality is not among them.
    """
    auto = modalities == "auto"
    records = [one.record for one in decoded]
    need_video = modalities in ("av", "video") or (auto and any(r.has_video for r in records))
    need_audio = modalities in ("av", "audio") or (auto and any(r.has_audio for r in records))
    files = {clip.clip_id: str(clip.video or clip.audio) for clip in clips}
    why = "other clips have it" if auto else f"corpus.modalities is {modalities}"
    remedy = (
        "corpus.require: any, or corpus.modalities"
        if need_video and need_audio
        else "corpus.modalities"
    )
    for one in decoded:
        record, file = one.record, files[one.record.clip_id]
        if require == "any" and (
            (need_video and record.has_video) or (need_audio and record.has_audio)
        ):
            continue
        if need_video and not record.has_video:
            reason = f"{file}: no video, but {why}; add the video or set {remedy}: audio"
            yield Reject(record.clip_id, file, reason)
        elif need_audio and not record.has_audio:
            what = "its sound is digital silence" if one.silent else "no track of sound"
            reason = f"{file}: {what}, but {why}; add a sound file or set {remedy}: video"
            yield Reject(record.clip_id, file, reason)
