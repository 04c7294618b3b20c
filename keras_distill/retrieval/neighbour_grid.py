"""See what an embedding takes for alike."""

import textwrap

import numpy as np

from keras_distill.retrieval.exact_search import exact_search

SAME, OTHER, INK, SOFT = "#1b9e4b", "#d62f2f", "#202124", "#6b7075"
NAME_WIDTH, TOP, ROW = 2.3, 0.95, 1.52  # in units of one image
INCHES, DOTS = 0.8, 150  # a unit in inches, dots an inch


def neighbour_grid(
    images,
    embeddings,
    labels,
    queries=8,
    neighbours: int = 10,
    class_names=None,
    metric="cosine",
    seed: int = 0,
):
    """Draws query images, each followed by its nearest neighbours.

    A neighbour of the query's class has a green frame, another a dashed red one
    and its name. Below is the score: the cosine, or the distance; below a query,
    how many of its class are shown, of how many that could be. The queries are
    drawn by lot, not chosen to please.

    Args:
        images: `ImageSet`, or uint8 array `(N, H, W, C)` with one channel or three.
        embeddings: Array `(N, D)`, one row an image, in order.
        labels: Int array `(N,)`.
        queries: How many, each of another class of two images or more; or the
            indices of the images to use.
        neighbours: How many beside each query; the query itself is none.
        class_names: C strings. Defaults to those of an `ImageSet`, or to numbers.
        metric: `"cosine"` or `"euclidean"`.
        seed: Integer, for drawing the queries.

    Returns:
        `PIL.Image.Image`, RGB; `grid.save("neighbours.png")` writes it.

    Raises:
        ValueError: If the lengths differ, an index is out of range, there is no
            query to draw or no other image, or a channel count is not 1 or 3.
    """
    labels = np.asarray(labels).reshape(-1)
    if not len(images) == len(embeddings) == len(labels):
        raise ValueError(
            "Images, embeddings and labels must have the same length. Received: "
            f"len(images)={len(images)}, len(embeddings)={len(embeddings)}, "
            f"len(labels)={len(labels)}"
        )
    if class_names is None:
        class_names = getattr(images, "class_names", None)
    if class_names is None:
        class_names = [str(label) for label in range(int(labels.max()) + 1)]
    queries = _chosen(queries, labels, seed)
    embeddings = np.asarray(embeddings)
    # One more than needed: the query is among its own neighbours, or ties with all.
    count = min(neighbours, len(labels) - 1)
    if count < 1:
        raise ValueError(
            "There must be an image beside the query to draw. Received: "
            f"neighbours={neighbours}, len(images)={len(images)}"
        )
    scores, indices = exact_search(embeddings[queries], embeddings, count + 1, metric)
    rows = []
    for query, some_scores, some_indices in zip(queries, scores, indices, strict=True):
        others = np.flatnonzero(some_indices != query)[:count]
        rows.append((query, some_indices[others], some_scores[others]))
    if metric == "euclidean":
        rows = [(query, found, np.sqrt(-some)) for query, found, some in rows]
    pictures = _pictures(images, np.concatenate([[q, *found] for q, found, _ in rows]))
    names = {label: class_names[label] for label in np.unique(labels)}
    return _drawn(rows, pictures, labels, names, metric)


def _chosen(queries, labels, seed):
    if not isinstance(queries, int):
        queries = np.asarray(queries).reshape(-1)
        if not len(queries) or queries.min() < 0 or queries.max() >= len(labels):
            raise ValueError(
                f"`queries` must be indices in 0..{len(labels) - 1}, at least one. "
                f"Received: queries={queries}"
            )
        return queries
    classes, sizes = np.unique(labels, return_counts=True)
    rng = np.random.default_rng(seed)
    classes = rng.permutation(classes[sizes > 1])[:queries]
    if queries < 1 or not len(classes):
        raise ValueError(
            "There must be a query to draw, of a class with two images. Received: "
            f"queries={queries}, of {len(classes)} such classes"
        )
    return np.array([rng.choice(np.flatnonzero(labels == c)) for c in classes])


def _pictures(images, indices):
    """`{index: (H, W) or (H, W, 3) uint8}`."""
    indices = np.unique(indices)
    some = images.read(indices) if hasattr(images, "read") else images[indices]
    some = np.asarray(some)
    if some.ndim != 4 or some.shape[-1] not in (1, 3):
        raise ValueError(
            "Images must have shape (N, H, W, 1) or (N, H, W, 3). "
            f"Received: images.shape={some.shape}"
        )
    if some.shape[-1] == 1:
        some = some[..., 0]
    return dict(zip(indices, some, strict=True))


def _drawn(rows, pictures, labels, names, metric):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    columns = max(len(found) for _, found, _ in rows)
    width = NAME_WIDTH + 1.15 + 0.35 + columns * 1.15
    height = TOP + ROW * len(rows)
    figure = Figure((width * INCHES, height * INCHES), dpi=DOTS, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()

    def write(x, y, text, size, colour=INK, across="center", down="center", **more):
        axes.text(
            *(x, y, _drawable(text)),
            **dict(fontsize=size, color=colour, ha=across, va=down),
            **dict(parse_math=False, linespacing=1.05),
            **more,
        )

    right = [(labels[found] == labels[q]).sum() for q, found, _ in rows]
    there = [min((labels == labels[q]).sum() - 1, len(found)) for q, found, _ in rows]
    write(0.15, 0.3, "Nearest neighbours", 13, across="left", weight="bold")
    digits = ".3f" if metric == "cosine" else ".4g"
    what = "cosine" if metric == "cosine" else "Euclidean distance"
    write(0.15, 0.66, f"and their {what} to the query", 8, SOFT, "left")
    write(width - 0.15, 0.3, "same class", 9, SAME, "right")
    write(width - 0.15, 0.66, "another class", 9, OTHER, "right")
    for number, (query, found, scores) in enumerate(rows):
        y = TOP + ROW * number
        axes.axhline(y - 0.03, color="#e4e6e8", linewidth=0.8)
        # A path breaks at its slashes, not inside the name of a folder.
        name = _short(names[labels[query]], 60).replace("/", "/ ")
        name = textwrap.fill(name, 18).replace("/ ", "/")
        write(0.15, y + 0.55, name, 8, across="left")
        x = NAME_WIDTH
        _place(axes, pictures[query], x, y + 0.05, INK, "solid")
        write(x + 0.5, y + 1.17, "query", 7, SOFT)
        possible = f"found {right[number]} of {there[number]}"
        write(x + 0.5, y + 1.32, possible, 6, SOFT)
        for column, (index, score) in enumerate(zip(found, scores, strict=True)):
            x = NAME_WIDTH + 1.5 + 1.15 * column
            same = labels[index] == labels[query]
            colour = SAME if same else OTHER
            style = "solid" if same else (0, (3, 1.5))
            _place(axes, pictures[index], x, y + 0.05, colour, style)
            write(x + 0.5, y + 1.17, format(score, digits), 7, colour)
            if not same:
                name = _short(names[labels[index]], 32)
                name = textwrap.fill(name, 18, max_lines=2, placeholder="…")
                write(x + 0.5, y + 1.25, name, 4.5, colour, down="top")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _place(axes, picture, x, y, colour, style):
    from matplotlib.patches import Rectangle

    axes.imshow(
        picture,
        cmap="gray",
        vmin=0,
        vmax=255,
        extent=(x, x + 1, y + 1, y),
        interpolation="nearest" if max(picture.shape[:2]) < 64 else "antialiased",
        aspect="auto",
        zorder=1,
    )
    frame = Rectangle(
        (x, y), 1, 1, fill=False, edgecolor=colour, linewidth=2.2, linestyle=style
    )
    frame.set_zorder(2)
    axes.add_patch(frame)


def _short(name, length):
    """Both ends of a long name: paths differ at the end, others at the start."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def _drawable(text):
    """`text` with a question mark for each character the font lacks."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(c if c == "\n" or ord(c) in known else "?" for c in text)
