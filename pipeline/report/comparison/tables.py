"""The tables as text: cells that both the markdown and the page show, and the markdown itself."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from pipeline.report.comparison.rows import (
    BOXES,
    BoxRow,
    Mean,
    Missing,
    Row,
    Score,
    Scored,
    SystemRow,
    VariantRow,
    by,
)
from pipeline.report.comparison.scoring import BOX_SCORES, REFERENCES
from pipeline.report.comparison.studies import GRID, LOSS_GRID, STUDIES, grid_name
from pipeline.report.figures import LABELS
from pipeline.report.words import CORPORA
from pipeline.scores.intervals import Interval
from pipeline.scores.metrics import published
from pipeline.systems import OURS, PAPER_TEST_CLIPS, SYSTEMS
from pipeline.work.progress import figure

UNKNOWN = "n/a"

SCORE_NOTE = (
    "Means over seeds in percent, their 95% intervals (Wilson's; for UA and F1 with the number of "
    "clips of which a plain share would vary as much) and the standard deviation over seeds. A "
    "clip counts once, however many seeds tested it, and where some are tested more often the "
    "number is lowered by Kish's factor; from eight speakers on, speakers are the sample. Macro "
    "F1's interval is that of all seeds' predictions taken together. Gains are in points of WA, "
    "row minus reference, on the same clips (Newcombe's interval of paired shares). p: exact "
    "McNemar test of the first seed alone; Holm's correction counts the rows."
)
FUSION_NOTE = (
    "Accuracy in percent, means over seeds; gains in points on the same clips, with a paired 95% "
    "interval. The fused answer is the network's own or, where `fusion.pool` is set, a pool of "
    "fused network, audio and visual branch, weighted on held-out training clips. Sum: the plain "
    "sum of both branches' log p as trained, softmax(log p_a + log p_v), with nothing learned of "
    "the two together. A system that learns one network for sound and image has no branches to "
    "compare with."
)
COST_NOTE = (
    "Training: steps of the optimiser, and seconds on the threads that params.yaml states, of a "
    "fold with the trainings on its inner folds. Inference: milliseconds per clip from inputs in "
    "memory. Rows over face features count the detector in every column, with the reading of its "
    "frames; one that serves several folds is counted at each. PANNs, which nobody trains here, "
    "are in none of the columns, nor is the time of a frozen published trunk, whose outputs are "
    "computed once."
)
SEED_NOTE = (
    "Seeds vary the split, where its protocol draws one, the inner folds, the detectors and the "
    "training of the system; with each seed all systems have the same clips. Random weights of "
    "audio networks are the same for all seeds."
)
BOX_NOTE = (
    "In percent, means over seeds, which vary the split and the detector's training, with their "
    "standard deviation. The gain is in mean IoU with the true box, in points, with a 95% interval "
    "over clips."
)
MEANING = (
    "An interval says how far other test clips could move the mean over seeds: clips of the same "
    "speakers, or from eight speakers on also other speakers like them. It does not cover other "
    "rooms or cameras. With few test clips most rows cannot be told apart: look at the interval of "
    "the difference, not at the order of the rows.",
    "The paper's figures are of another corpus unless this one is SAVEE, and its networks began "
    "from published weights: landmarks, not a comparison. In the paper, fusion "
    f"({SYSTEMS[OURS].paper:.1%}) lies below the audio network in it alone "
    f"({SYSTEMS['audio_wavegram_logmel'].paper:.1%}); {PAPER_TEST_CLIPS} clips cannot tell the two "
    "apart.",
)
DEVIATION_NOTE = "How rows deviate from what was published:"

PROTOCOLS = {
    "paper": "random clips of each emotion held out, whoever speaks them",
    "loso": "one speaker, or group of speakers, left out at a time",
    "loso_text": "speakers left out in the same way, and no sentence tested was trained",
    "folds": "the folds of a file",
}

STUDY_TITLES = {BOXES: "Box loss and variance voting", **{s.key: s.title for s in STUDIES}}


class Table(NamedTuple):
    """Head and body; the first column names the row."""

    head: list[str]
    body: list[list[str]]


# ---------------------------------------------------------------- systems


def done(rows: Iterable[Row]) -> list[SystemRow]:
    """The systems that were run."""
    return [row for row in rows if isinstance(row, SystemRow)]


def remarks(rows: Sequence[Row]) -> list[str]:
    """What the figures do not say: why answers are not all they seem, and why rows are absent."""
    scored = [row for row in rows if isinstance(row, Scored)]
    odd = [f"{row.name}, {warning}" for row in scored for warning in row.warnings]
    absent = [f"{row.name} is absent: {row.absent}" for row in rows if isinstance(row, Missing)]
    return [*odd, *absent]


def systems(rows: Sequence[SystemRow]) -> Table:
    """Scores of each system, the paper's beside them, and tests against ours."""
    numbers = {phrase: number for number, phrase in enumerate(deviations(rows), start=1)}
    marks = {row.system: sorted(numbers[phrase] for phrase in row.deviations) for row in rows}
    head = ["System", "WA", "UA", "Macro F1", "Paper", f"Gain over {OURS}", "p", "p (Holm)"]
    body = [
        [
            row.system + (" (pool)" if pooled(row) else "") + _marked(marks[row.system]),
            *(percent(score) for score in (row.accuracy, row.uar, row.macro_f1)),
            _published(row.paper_accuracy),
            points(row.gain),
            *(probability(p) for p in (row.mcnemar_p, row.holm_p)),
        ]
        for row in rows
    ]
    return Table(head, body)


def deviations(rows: Sequence[SystemRow]) -> list[str]:
    """Every deviation from what was published once, in the order of the marks: ours first."""
    ours_first = sorted(rows, key=lambda row: row.system != OURS)
    return list(dict.fromkeys(phrase for row in ours_first for phrase in row.deviations))


def _marked(numbers: Sequence[int]) -> str:
    """Behind a name, ascending numbers with runs drawn together: ` (1-3, 7)`."""
    groups = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in own] for _, own in groups]
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f" ({', '.join(texts)})" if texts else ""


def fusion(rows: Sequence[SystemRow]) -> Table:
    """Fused systems beside the branches that they fuse, and beside their sum.

    Where an answer is pooled, the network alone stands beside it.
    """
    pools = any(map(pooled, rows))
    head = [
        *("System", "Fused", "Audio", "Visual", "Sum"),
        *("Gain over the better", "Worst seed", "Gain over the sum"),
        *(("Network alone", "Answer") if pools else ()),
    ]
    body = [
        [
            row.system,
            *map(share, (row.accuracy.value, row.audio, row.visual, row.branch_sum)),
            points(row.over_best),
            f"{100 * row.over_best_worst_seed:+.1f}",
            points(row.over_sum),
            *((share(row.network), answer(row)) if pools else ()),
        ]
        for row in rows
        if row.over_best_worst_seed is not None
    ]
    return Table(head, body)


def pooled(row: SystemRow) -> bool:
    """Whether the fused answer is a pool of network and branches, and not the network's own."""
    return len(row.weight) > 1


def answer(row: SystemRow) -> str:
    """Whose answer the fused one is, with the weights fitted on held-out training clips."""
    weights = " / ".join(f"{weight:.2f}" for weight in row.weight.values())
    if pooled(row):
        return f"pool {weights}"
    return f"network, 1/T {weights}" if weights else "network, not calibrated"


def shares(rows: Sequence[SystemRow], name: Literal["speaker", "recall"]) -> Table:
    """Accuracy by speaker or recall by emotion, in percent."""
    found: list[Mapping[str, float]] = [getattr(row, name) for row in rows]
    keys = list(dict.fromkeys(key for one in found for key in one))
    body = [
        [row.system, *(share(one.get(key)) for key in keys)]
        for row, one in zip(rows, found, strict=True)
    ]
    return Table(["System", *keys], body)


def spreads(rows: Sequence[SystemRow]) -> Table:
    """How far speakers lie apart."""
    body = [
        [row.system, *map(share, (row.speaker_min, row.speaker_max, row.speaker_sd))]
        for row in rows
    ]
    return Table(["System", "Least", "Most", "SD"], body)


def costs(rows: Sequence[SystemRow]) -> Table:
    """Parameters, steps of the optimiser, training and inference time."""
    head = ["System", "Parameters trained", "of", "Steps", "Training, s", "Inference, ms"]
    body = [
        [
            row.system,
            f"{row.trained:,}",
            f"{row.total:,}",
            f"{row.steps:,.0f}",
            f"{row.train_s:.1f}",
            f"{row.infer_ms:.2f}",
        ]
        for row in rows
    ]
    return Table(head, body)


def about(row: SystemRow) -> str:
    """Of what the rows of a protocol are."""
    corpus = CORPORA.get(row.corpus, row.corpus)
    return (
        f"{corpus[:1].upper()}{corpus[1:]}, {_counted(row.seeds, 'seed')}, each with "
        f"{row.clips} test clips in {_counted(row.folds, 'fold')}. Chance "
        f"{share(row.chance)}, majority class {share(row.majority)}. The paper's figures are "
        f"from {PAPER_TEST_CLIPS} random clips of SAVEE, with Wilson's intervals."
    )


# ---------------------------------------------------------------- ablations


def study(key: str, rows: Sequence[Row]) -> Table:
    """The table of a study."""
    if key == BOXES:
        return _boxes([row for row in rows if isinstance(row, BoxRow)])
    variants = [row for row in rows if isinstance(row, VariantRow)]
    return _grid(variants) if key == LOSS_GRID else _variants(variants)


def _variants(rows: Sequence[VariantRow]) -> Table:
    """Scores of each variant, and its gain over the one it is measured against."""
    head = ["Variant", "WA", "UA", "NLL", "Gain in WA", "Against", "p", "p (Holm)"]
    body = [
        [
            row.variant,
            *map(percent, (row.accuracy, row.uar)),
            figure(row.nll),
            points(row.gain),
            row.against,
            *map(probability, (row.mcnemar_p, row.holm_p)),
        ]
        for row in rows
    ]
    return Table(head, body)


def _grid(rows: Sequence[VariantRow]) -> Table:
    """Mean accuracy and NLL by alpha and beta; nothing where no variant was run."""
    cells = {row.variant: f"{share(row.accuracy.value)} / {figure(row.nll)}" for row in rows}
    body = [
        [f"alpha {alpha:g}", *(cells.get(grid_name(alpha, beta), UNKNOWN) for beta in GRID)]
        for alpha in GRID
        if rows
    ]
    return Table(["WA / NLL", *(f"beta {beta:g}" for beta in GRID)], body)


def _boxes(rows: Sequence[BoxRow]) -> Table:
    """Box quality against both references."""
    words = {"truth": "true box", "dlib": "dlib"}
    heads = [f"{LABELS[name]}, {words[ref]}" for ref in REFERENCES for name in BOX_SCORES]
    names = [f"{reference}_{name}" for reference in REFERENCES for name in BOX_SCORES]
    body = [
        [row.variant, *(percent(getattr(row, name)) for name in names), points(row.gain, 2)]
        for row in rows
    ]
    return Table(["Box loss", *heads, "Gain in IoU"], body)


# ---------------------------------------------------------------- cells


def percent(score: Score | Mean | None) -> str:
    """A share in percent with its interval and spread, as far as they are known."""
    if score is None:
        return UNKNOWN
    text = share(score.value)
    if isinstance(score, Score):
        text += f" [{share(score.low)}, {share(score.high)}]"
    return text if score.sd is None else f"{text} ± {share(score.sd)}"


def share(value: float | None) -> str:
    """A share in percent."""
    return UNKNOWN if value is None else f"{100 * value:.1f}"


def _published(accuracy: float | None) -> str:
    """The paper's figure in percent with its interval."""
    if accuracy is None:
        return UNKNOWN
    one = published(accuracy)
    return f"{share(one.value)} [{share(one.low)}, {share(one.high)}]"


def points(gain: Interval | None, decimals: int = 1) -> str:
    """A difference in points with its interval; empty where there is none."""
    if gain is None:
        return ""
    value, low, high = (f"{100 * x:+.{decimals}f}" for x in (gain.value, gain.low, gain.high))
    return f"{value} [{low}, {high}]"


def probability(p: float | None) -> str:
    """A p value; empty where nothing was tested."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


# ---------------------------------------------------------------- markdown


def systems_text(rows: Sequence[Row], notices: Sequence[str]) -> list[str]:
    """All protocols as markdown, the notices first."""
    lines = [*_bold(notices), "# Systems", ""]
    for protocol, own in by(rows, "protocol").items():
        lines += [f"## Protocol {protocol}", "", *_protocol(done(own)), *_listed(remarks(own))]
    return [*lines, "## What the figures mean", "", *_listed(MEANING)]


def ablations_text(rows: Sequence[Row], notices: Sequence[str]) -> list[str]:
    """All studies as markdown, the notices first."""
    lines = [*_bold(notices), "# Ablations", ""]
    for key, own in by(rows, "study").items():
        note = BOX_NOTE if key == BOXES else SCORE_NOTE
        lines += [f"## {STUDY_TITLES[key]}", "", *_markdown(study(key, own)), note, ""]
        lines += _listed(remarks(own))
    return lines


def _protocol(rows: Sequence[SystemRow]) -> list[str]:
    if not rows:
        return []
    lines = [about(rows[0]), "", *_markdown(systems(rows)), SCORE_NOTE, SEED_NOTE, ""]
    notes = [f"{number}. {phrase}." for number, phrase in enumerate(deviations(rows), start=1)]
    lines += [DEVIATION_NOTE, "", *notes, ""] if notes else []
    if fusion(rows).body:
        lines += ["### Fused against the better branch and the sum", "", *_markdown(fusion(rows))]
        lines += [FUSION_NOTE, ""]
    lines += ["### Accuracy by speaker", "", *_markdown(shares(rows, "speaker"))]
    lines += ["### Recall by emotion", "", *_markdown(shares(rows, "recall"))]
    return [*lines, "### Cost", "", *_markdown(costs(rows)), COST_NOTE, ""]


def _markdown(table: Table) -> list[str]:
    """A table and an empty line; nothing without rows."""
    if not table.body:
        return []
    rule = ["---", *("---:" for _ in table.head[1:])]
    lines = (
        [cell.replace("|", r"\|") for cell in line] for line in (table.head, rule, *table.body)
    )
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _bold(notices: Sequence[str]) -> list[str]:
    return [line for notice in notices for line in (f"**{notice}**", "")]


def _listed(sentences: Sequence[str]) -> list[str]:
    return [*(f"- {sentence}" for sentence in sentences), ""] if sentences else []
