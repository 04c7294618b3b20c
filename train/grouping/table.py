"""The results of `train.groups` as a page of Markdown."""

from train.comparison.table import row
from train.grouping.poolings import ABOUT, BASELINE, BEST

NOTE = """\
Per cent: mean over the folds and half the width of its 95 % t-interval. A fold is one
value, the mean of its draws; a difference is paired, both poolings weigh the same unit
vectors of the same groups. **Bold** where its interval leaves 0 out; intervals are not
widened for the number of poolings. {folds} Nothing was chosen on the unseen classes."""

RANDOM = "Folds draw their halves from the same classes and so are not independent."
FIXED = """All folds have the same classes: they differ in the seed of {what}, and the \
intervals speak of other seeds, not of other classes."""
ONE = "Of one fold nothing can be said about spread."
WIDE = "Of so few folds a t-interval is wide."

KEPT = """\
All members are scored, the k best of a group are embedded and pooled as DDL pools them;
as a control k by lot are embedded, and their mean taken. Differences are to the mean of
all members. Multiply-adds count the scorer."""


def table(summary, head, conditions):
    """Markdown of a run.

    Args:
        summary: `Summary`.
        head: Dictionary with `title`, `command`, `size`, `fixed` (whether the classes
            are those of globs, and what then differs; `None` otherwise), `notes`, and
            `scorer` and `embedder`, their multiply-adds or `None`.
        conditions: Dictionary from what to which.

    Returns:
        String.
    """
    lines = [f"# {head['title']}", "", "```sh", head["command"], "```", ""]
    lines += [*_poolings(summary), "", NOTE.format(folds=_folds(summary, head)), ""]
    lines += [f"* {note}" for note in head["notes"]]
    lines += [""] if head["notes"] else []
    lines += [f"## k of {head['size']} members embedded", ""]
    lines += [*_kept(summary, head), "", KEPT, ""]
    lines += ["## Conditions", "", "| | |", "| --- | --- |"]
    lines += [row([what, which]) for what, which in conditions.items()]
    lines += ["", "| pooling | what weighs |", "| --- | --- |"]
    lines += [row([name, ABOUT[name]]) for name in summary.poolings]
    return "\n".join(lines) + "\n"


def _poolings(summary):
    headings = ["pooling"]
    for measure in summary.measures.values():
        headings += [measure.title, f"against {BASELINE}"]
    first = summary.measures[summary.headline].title
    yield row([*headings, f"of the oracle's gain in {first}"])
    yield row(["---"] + ["---:"] * len(headings))
    for name in summary.poolings:
        cells = [name]
        for key, measure in summary.measures.items():
            cells.append(measure.text(summary.value(name, key)))
            gain = measure.gain(summary.gain(name, key))
            cells.append("" if name == BASELINE else gain)
        share = summary.share(name, summary.headline)
        told = share is not None and name not in (BASELINE, BEST)
        yield row([*cells, f"{100 * share:.0f} %" if told else ""])


def _kept(summary, head):
    size = head["size"]
    costs = head["scorer"] is not None and head["embedder"]
    headings = ["k", "embedder calls"] + (["multiply-adds"] if costs else [])
    for measure in _shown(summary).values():
        headings += [f"{measure.title}, best k", f"against {BASELINE} of all"]
        headings += [f"{measure.title}, k by lot", f"against {BASELINE} of all"]
    yield row(headings)
    yield row(["---:"] * len(headings))
    for k in summary.ks:
        cells = [str(k), f"{100 * k / size:.0f} %"]
        if costs:
            cells.append(f"{100 * (k / size + head['scorer'] / costs):.1f} %")
        for key, measure in _shown(summary).items():
            for how in ("best", "random"):
                cells.append(measure.text(summary.kept(how, k, key)))
                same = how == "random" and k == size
                gain = measure.gain(summary.kept_gain(how, k, key))
                cells.append("" if same else gain)
        yield row(cells)


def _shown(summary):
    """The headline and rank-1."""
    wanted = (summary.headline, "rank_1")
    return {key: m for key, m in summary.measures.items() if key in wanted}


def _folds(summary, head):
    count = len(summary.folds)
    said = RANDOM if head["fixed"] is None else FIXED.format(what=head["fixed"])
    if count == 1:
        return ONE
    return f"{said} {WIDE}" if count < 5 else said
