"""A progress bar on the error stream, for work that takes more than a moment."""

import sys

import rich.console
import rich.progress


def progress(items, total, description):
    """Passes `items` on, showing how many of `total` have gone by.

    Nothing is shown unless the error stream is a terminal; the bar goes away at the
    end, so that quick work leaves no trace.

    Args:
        items: Any iterable.
        total: How many there are.
        description: A few words.

    Returns:
        An iterator over `items`.
    """
    return rich.progress.track(
        items,
        description,
        total=total,
        console=rich.console.Console(file=sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
