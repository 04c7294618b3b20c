"""Groups with the scores of their members: do the scores make sense to an eye?"""

import numpy as np

INK, SOFT, KEPT = "#202124", "#6b7075", "#1b9e4b"
LEFT, TOP, ROW, STEP, BOTTOM = 1.75, 0.85, 1.5, 1.12, 0.45  # units of one image
GAP = 0.5  # between the best and the worst, where those between are left out
SHOWN = 10  # members of a group, at most
INCHES, DOTS = 0.85, 150


def picture(groups):
    """Draws groups, a row each, their members from the best score to the worst.

    Below each image its score, then the true indicator and the weight it has in the
    group's vector. The frame is the thicker the more it weighs.

    Args:
        groups: List of dictionaries: `name`; and, of its members, `images` uint8
            `(N, H, W, C)`, `scores`, `truth` and `weights` `(N,)`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    size = len(groups[0]["scores"])
    places = _places(size)
    last = max(places.values())
    width, height = last + STEP + 0.1, TOP + ROW * len(groups) + BOTTOM
    figure = Figure((width * INCHES, height * INCHES), dpi=DOTS, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    _write(axes, 0.15, 0.28, "Groups by score", 11, ha="left", weight="bold")
    _write(axes, LEFT + 0.5, TOP - 0.2, "best", 8.5, SOFT)
    _write(axes, last + 0.5, TOP - 0.2, "worst", 8.5, SOFT)
    for number, group in enumerate(groups):
        y = TOP + ROW * number
        axes.axhline(y - 0.06, color="#e4e6e8", linewidth=0.8)
        _write(axes, 0.15, y + 0.5, _wrapped(group["name"]), 8, ha="left")
        order = np.argsort(-group["scores"], kind="stable")
        for place, x in places.items():
            _member(axes, x, y, group, order[place])
    told = "score, then the true indicator\nand the weight in the group"
    _write(axes, 0.15, height - 0.22, told, 7, SOFT, ha="left")
    return figure


def _places(size):
    """Where the members go, from the best: those in the middle may be left out."""
    if size <= SHOWN:
        return {place: LEFT + STEP * place for place in range(size)}
    half = SHOWN // 2
    best = {place: LEFT + STEP * place for place in range(half)}
    worst = range(size - half, size)
    start = LEFT + STEP * half + GAP
    return best | {place: start + STEP * n for n, place in enumerate(worst)}


def _member(axes, x, y, group, member):
    from matplotlib.patches import Rectangle

    image = group["images"][member]
    axes.imshow(
        image[..., 0] if image.shape[-1] == 1 else image,
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(x, x + 1, y + 1, y),
        interpolation="nearest",
        aspect="auto",
        zorder=1,
    )
    weight = group["weights"][member]
    frame = Rectangle((x, y), 1, 1, fill=False, edgecolor=KEPT if weight else SOFT)
    frame.set_linewidth(0.8 + 6 * weight)
    frame.set_zorder(2)
    axes.add_patch(frame)
    _write(
        axes, x + 0.5, y + 1.13, f"{group['scores'][member]:.2f}", 8.5, weight="bold"
    )
    below = f"{group['truth'][member]:.2f}  ·  {100 * weight:.0f} %"
    _write(axes, x + 0.5, y + 1.31, below, 6.5, SOFT)


def _write(axes, x, y, text, size, colour=INK, ha="center", **more):
    look = {"fontsize": size, "color": colour, "ha": ha, "va": "center", **more}
    axes.text(x, y, text, parse_math=False, **look)


def _wrapped(name):
    """A path breaks at its slashes; a long name keeps both ends."""
    parts = [
        one if len(one) < 19 else f"{one[:9]}…{one[-8:]}" for one in name.split("/")
    ]
    return "/\n".join(parts)
