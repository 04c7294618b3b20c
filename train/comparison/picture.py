"""The paired differences as a picture."""

from train.comparison.statistics import differences, estimate
from train.comparison.table import MEASURES, shown

BETTER, WORSE, OPEN = "#1a7f4b", "#b3392f", "#5a6472"


def picture(recipe, record):
    """Draws what each method gains over the baseline.

    A row a method, a panel a measure: a dot for each seed, the mean with its 95 %
    interval above them.

    Args:
        recipe: `Recipe`.
        record: `Record`.

    Returns:
        A `matplotlib.figure.Figure`; `None` while there is no pair of runs.
    """
    from matplotlib.figure import Figure

    gains = {measure: _gains(recipe, record, measure) for measure in MEASURES}
    names = list(gains["recall_at_1"])
    if not names:
        return None
    figure = Figure(figsize=(9, 1.5 + 0.45 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(MEASURES), sharey=True, squeeze=False)[0]
    for panel, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        _draw(panel, gains[measure], names)
        panel.set_xlabel(f"{title}, points above {recipe.baseline}")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    runs = max(len(seeds) for seeds in gains["recall_at_1"].values())
    figure.suptitle(
        f"{recipe.name}: a dot a seed (up to {runs}), mean and 95 % interval; "
        "green above 0, red below, grey undecided",
        fontsize="medium",
    )
    return figure


def _gains(recipe, record, measure):
    base = record.figures(recipe.baseline, measure)
    found = {}
    for label in shown(recipe, record):
        gains = differences(record.figures(label, measure), base)
        if label != recipe.baseline and gains:
            found[label] = [100 * gain for gain in gains.values()]
    return found


def _draw(panel, gains, names):
    panel.axvline(0, color="black", linewidth=0.8)
    for row, name in enumerate(names):
        seeds = gains[name]
        value = estimate(seeds)
        color = OPEN
        if value.decided:
            color = BETTER if value.mean > 0 else WORSE
        panel.plot(
            seeds,
            [row + 0.22] * len(seeds),
            "o",
            markersize=3.5,
            markerfacecolor="none",
            markeredgecolor=color,
            alpha=0.8,
        )
        panel.errorbar(
            value.mean,
            row - 0.08,
            xerr=value.half,
            fmt="D",
            markersize=5,
            capsize=4,
            linewidth=1.8,
            color=color,
        )
    panel.set_ylim(-0.6, len(names) - 0.4)
    panel.grid(axis="x", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
