"""Which classes teach the scorer, and which are met for the first time."""

import typing

import numpy as np

from keras_distill.class_globs import matching


class Fold(typing.NamedTuple):
    """One division of the classes.

    Attributes:
        number: Integer from 0.
        seed: Integer, of all that is drawn in the fold.
        proxy: Tuple of class names: what embedder and scorer learn from.
        unseen: Tuple of class names: what groups are drawn from.
    """

    number: int
    seed: int
    proxy: tuple
    unseen: tuple


def folds(names, count, proxy_globs=None, eval_globs=None, seed=0):
    """The folds of a run.

    Without globs each fold draws half of the classes by lot, under the seed; the odd
    one out is unseen. With globs all folds have the classes these name, and differ in
    their seed alone.

    Args:
        names: Class names.
        count: How many folds.
        proxy_globs, eval_globs: Lists of globs, `*` matching `/` too, or `None`. Where
            one of them is missing it is what the other leaves.
        seed: Integer; fold n has `seed + n`.

    Returns:
        List of `Fold`.

    Raises:
        ValueError: If a glob matches nothing, a class is on both sides, or a side has
            fewer than two classes.
    """
    if proxy_globs is None and eval_globs is None:
        halves = [_halves(names, seed, number) for number in range(count)]
    else:
        halves = [_named(names, proxy_globs, eval_globs)] * count
    found = [Fold(number, seed + number, *sides) for number, sides in enumerate(halves)]
    for side in ("proxy", "unseen"):
        classes = getattr(found[0], side)
        if len(classes) < 2:
            raise ValueError(
                f"Two {side} classes are needed at least, as a class is told from "
                f"others. Received: {len(classes)} of {len(names)} classes"
            )
    return found


def _halves(names, seed, number):
    order = np.random.default_rng([seed, number]).permutation(sorted(names)).tolist()
    half = len(order) // 2
    return tuple(sorted(order[:half])), tuple(sorted(order[half:]))


def _named(names, proxy_globs, eval_globs):
    everything = set(names)
    unseen = None if eval_globs is None else matching(names, eval_globs, "eval_classes")
    if proxy_globs is None:
        proxy = everything - unseen
    else:
        proxy = matching(names, proxy_globs, "proxy_classes")
        unseen = everything - proxy if unseen is None else unseen
    both = sorted(proxy & unseen)
    if both:
        raise ValueError(
            "A class teaches the scorer or is met for the first time, not both. "
            f"Received: {len(both)} on both sides, such as {both[0]!r}"
        )
    return tuple(sorted(proxy)), tuple(sorted(unseen))
