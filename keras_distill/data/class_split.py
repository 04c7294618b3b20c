"""Some classes train, the others evaluate: retrieval is measured on unseen classes."""

import hashlib

import numpy as np

from keras_distill.class_globs import matching

SHARE = 0.2  # of the classes evaluate, where nobody says which


def class_split(images, eval_classes=None):
    """Splits an `ImageSet` into two of disjoint classes.

    Args:
        images: `ImageSet` of at least two classes (four without `eval_classes`).
        eval_classes: Globs (`*`, `?`, `[ab]`) over class names, `*` matching `/`
            too; one string or several. Defaults to a fifth of the classes, at
            least two: those whose names have the smallest SHA-256, so that the
            choice depends on the names alone.

    Returns:
        `(train, evaluation)`, both `ImageSet`.

    Raises:
        ValueError: If a glob matches no class, if together they match every class,
            or if either side has no class with two images (training needs a pair to
            pull together, evaluation something to find).
    """
    names = images.class_names
    if eval_classes is None:
        chosen = _by_hash(images)
    else:
        globs = [eval_classes] if isinstance(eval_classes, str) else list(eval_classes)
        chosen = matching(names, globs, "eval_classes")
        if len(chosen) == len(names):
            raise ValueError(
                f"`eval_classes` must leave classes of {images.name!r} to train on. "
                f"Received: eval_classes={globs}, which matches all {len(names)}"
            )
        if not chosen:
            raise ValueError(
                "`eval_classes` must hold a glob. Received: eval_classes=[]"
            )
    train = images.take_classes(lambda name: name not in chosen)
    evaluation = images.take_classes(lambda name: name in chosen)
    check_pairs(train, "train")
    check_pairs(evaluation, "evaluate")
    return train, evaluation


def check_pairs(images, use):
    """Raises `ValueError` unless some class has two images."""
    if np.bincount(images.labels, minlength=1).max() < 2:
        raise ValueError(
            f"At least one of the classes that {use} must have two images: a single "
            f"image has no other to match. Received: {len(images)} images in "
            f"{len(images.class_names)} classes of {images.name!r}, such as "
            f"{_some(images.class_names)}"
        )


def _by_hash(images):
    names = images.class_names
    if len(names) < 4:
        raise ValueError(
            "At least four classes are needed to choose those that evaluate; name "
            f"them by `eval_classes`. Received: {len(names)} classes in "
            f"{images.name!r}: {_some(names)}"
        )
    count = max(2, round(SHARE * len(names)))
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(ranked[:count])


def _some(names):
    return ", ".join(repr(name) for name in names[:3])
