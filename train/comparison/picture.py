"""The paired differences as a picture."""

from train.comparison.statistics import differences, estimate
from train.comparison.table import pairs
from train.comparison.tasks import TASKS

BETTER, WORSE, OPEN = "#1a7f4b", "#b3392f", "#5a6472"


def picture(recipe, record):
    """Draws what each method gains over the baseline, or over another method.

    Args:
        recipe: `Recipe`.
        record: `Record`.

    Returns:
        A `matplotlib.figure.Figure`; `None` while there is no pair of runs.
    """
    return draw(recipe, record, pairs(recipe, record), TASKS[recipe.task].measures)


def draw(recipe, record, compared, measures):
    """Draws paired differences.

    A row a comparison, a panel a measure: a dot for each seed, the mean with its 95 %
    interval above them.

    Args:
        recipe: What has a `name` and a `baseline`.
        record: `Record`.
        compared: List of `(method, other)`.
        measures: Dictionary from figures to their `Measure`; the first decides which
            comparisons there are.

    Returns:
        A `matplotlib.figure.Figure`; `None` while there is no pair of runs.
    """
    from matplotlib.figure import Figure

    gains = {key: _gains(recipe, record, compared, key) for key in measures}
    first = next(iter(gains.values()))
    names = list(first)
    if not names:
        return None
    figure = Figure(figsize=(9, 1.5 + 0.45 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    others = {other for _, other in compared} - {recipe.baseline}
    beside = f"{recipe.baseline}, or the method named" if others else recipe.baseline
    for panel, (key, measure) in zip(panels, measures.items(), strict=True):
        _draw(panel, gains[key], names, measure)
        panel.set_xlabel(f"{measure.title}, difference in {measure.unit}")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    runs = max(len(seeds) for seeds in first.values())
    figure.suptitle(
        f"{recipe.name}, against {beside}\na dot a seed (up to {runs}), mean and 95 % "
        "interval; green better, red worse, grey undecided",
        fontsize="medium",
    )
    return figure


def _gains(recipe, record, compared, key):
    found = {}
    for label, other in compared:
        gains = differences(record.figures(label, key), record.figures(other, key))
        if gains:
            name = label if other == recipe.baseline else f"{label} against {other}"
            found[name] = list(gains.values())
    return found


def _draw(panel, gains, names, measure):
    panel.axvline(0, color="black", linewidth=0.8)
    for row, name in enumerate(names):
        value = estimate(gains[name])
        seeds = [measure.scale * gain for gain in gains[name]]
        color = OPEN
        if value.decided:
            color = BETTER if (value.mean > 0) == measure.more_is_better else WORSE
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
            measure.scale * value.mean,
            row - 0.08,
            xerr=None if value.half is None else measure.scale * value.half,
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
