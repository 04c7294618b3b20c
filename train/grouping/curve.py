"""Accuracy against the share of members that are embedded, as a picture."""

from train.grouping.poolings import BASELINE

OURS, CONTROL, ALL = "#1a5fb4", "#c0561a", "#5a6472"


def curve(summary, size):
    """Draws what k of N members are worth, by score and by lot.

    Args:
        summary: `Summary`.
        size: N.

    Returns:
        A `matplotlib.figure.Figure`: a panel for the headline, one for rank-1. Bars are
        half the 95 % t-interval of the paired difference to the mean of all members,
        the dashed line: where one does not reach that line, the difference is decided.
    """
    from matplotlib.figure import Figure

    keys = [summary.headline, "rank_1"]
    figure = Figure(figsize=(9.5, 4.3), layout="constrained")
    for panel, key in zip(figure.subplots(1, 2), keys, strict=True):
        measure = summary.measures[key]
        mean = summary.value(BASELINE, key).mean
        panel.axhline(
            measure.scale * mean,
            color=ALL,
            linestyle="--",
            linewidth=1.2,
            label=f"mean of all {size}",
        )
        _draw(panel, summary, measure, key, size, "best", OURS, "o", -0.6)
        _draw(panel, summary, measure, key, size, "random", CONTROL, "s", 0.6)
        panel.set_xlabel("embedder calls, per cent of the members")
        panel.set_ylabel(f"{measure.title}, per cent")
        if size <= 10:
            panel.set_xticks([100 * k / size for k in summary.ks])
        panel.set_xlim(0, 105)
        # Wide intervals leave the range of a rate: there is nothing to see outside.
        low, high = panel.get_ylim()
        panel.set_ylim(max(low, -2), min(high, 102))
        panel.grid(color="#e2e4e7", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    folds = len(summary.folds)
    bars = "bars: 95 % interval of the paired difference to the dashed line"
    figure.suptitle(
        f"Groups of {size}, k members embedded: mean of {folds} "
        f"fold{'s' if folds > 1 else ''}{f'; {bars}' if folds > 1 else ''}",
        fontsize="medium",
    )
    return figure


def _draw(panel, summary, measure, key, size, how, colour, marker, aside):
    gains = [summary.kept_gain(how, k, key).half for k in summary.ks]
    label = {"best": "k best by score, DDL", "random": "k by lot, mean"}[how]
    panel.errorbar(
        [100 * k / size + aside for k in summary.ks],
        [measure.scale * summary.kept(how, k, key).mean for k in summary.ks],
        yerr=None if None in gains else [measure.scale * half for half in gains],
        color=colour,
        marker=marker,
        markersize=5,
        capsize=3,
        linewidth=1.6,
        elinewidth=1,
        label=label,
    )
