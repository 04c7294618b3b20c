"""Print what a search has found: tables where rich is installed, else plain lines."""

# A threshold that refuses most of what is in the catalogue says nothing.
USEFUL = 0.5


def show(results):
    """Prints the neighbours of each image.

    Args:
        results: List of `{"image": name, "neighbours": list}`, as `export.search`
            prints them with `--json`.
    """
    for result in results:
        print(result["image"])
        _show_neighbours(result)


def show_group(result):
    """Prints what each image of a group is worth, and the neighbours of the group.

    Args:
        result: Dictionary `images`, `embedded` and `neighbours`, likewise.
    """
    images = result["images"]
    if not images:
        return
    print(f"{len(images)} images as one query, {result['embedded']} of them embedded")
    names = ("score", "weight", "embedded", "image")
    rows = [
        (
            f"{image['score']:.4f}",
            f"{image['weight']:.4f}",
            "yes" if image["embedded"] else "no",
            image["image"],
        )
        for image in images
    ]
    _print_table(names, rows, [names, *rows])
    _show_neighbours(result)


def show_objects(results, threshold):
    """Prints what was found in each image, and the neighbours of each thing.

    Args:
        results: List of `{"image": name, "objects": list}`, likewise.
        threshold: Float, the score above which something counts as found.
    """
    for result in results:
        objects = result["objects"]
        if not objects:
            print(f"{result['image']}: nothing with a score above {threshold:.2f}")
            continue
        count = f"{len(objects)} {'thing' if len(objects) == 1 else 'things'}"
        print(f"{result['image']}: {count}")
        for thing in objects:
            x1, y1, x2, y2 = (f"{side:.0f}" for side in thing["box"])
            print(
                f"{thing['class']}, score {thing['score']:.2f}, "
                f"from ({x1}, {y1}) to ({x2}, {y2})"
            )
            _show_neighbours(thing)


def _show_neighbours(result):
    if result.get("no_match") and result["known_accepted"] >= USEFUL:
        print("  not in the catalogue, by the bundle's threshold; the nearest are")
    rows = [
        (
            str(rank),
            f"{found['score']:.4f}",
            "yes" if found.get("match") else "no",
            found["id"],
        )
        for rank, found in enumerate(result["neighbours"], 1)
    ]
    names = ("", "score", "match", "id")
    if "no_match" not in result:  # a bundle without thresholds
        names, rows = names[:2] + names[3:], [row[:2] + row[3:] for row in rows]
    _print_table(names, rows, rows)


def _print_table(names, rows, lines):
    """Prints a table of rows whose last column is a name, or the lines instead."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        columns = list(zip(*lines, strict=True))[:-1]
        widths = [max(3, *map(len, column)) for column in columns]
        for *cells, name in lines:
            padded = [c.rjust(n) for c, n in zip(cells, widths, strict=True)]
            print("  " + "  ".join([*padded, name]))
        return
    table = Table()
    for name in names[:-1]:
        table.add_column(name, justify="right")
    table.add_column(names[-1])
    for *cells, name in rows:
        # As `Text`, so that brackets in a name are not read as a style.
        table.add_row(*cells, Text(name, overflow="fold"))
    Console().print(table)
