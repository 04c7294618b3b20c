"""Some images of every class train, the others test: a closed set of classes."""

import hashlib

import numpy as np


def instance_split(images, share=0.3):
    """Splits an `ImageSet` into two with the same classes and other images.

    For classifiers; retrieval is measured on unseen classes instead, see `class_split`.

    Args:
        images: `ImageSet`.
        share: Float in (0, 1): the part of each class that tests, rounded, at least
            one image and never all. The images whose ids have the smallest SHA-256
            test, so that the choice depends on the ids alone.

    Returns:
        `(train, test)`, both `ImageSet` with the labels and class names of `images`.

    Raises:
        ValueError: If `share` is out of range, or a class has fewer than two images.
    """
    if not 0 < share < 1:
        raise ValueError(f"`share` must lie in (0, 1). Received: share={share}")
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    if counts.min() < 2:
        few = images.class_names[counts.argmin()]
        raise ValueError(
            "Every class needs two images, one to train on and one to test with. "
            f"Received: class {few!r} of {images.name!r} with {counts.min()}"
        )
    hashes = np.array(
        [hashlib.sha256(name.encode()).hexdigest() for name in images.ids]
    )
    order = np.lexsort((hashes, images.labels))
    rank = np.empty(len(images), int)
    rank[order] = np.arange(len(images)) - (np.cumsum(counts) - counts).repeat(counts)
    tests = np.clip(np.round(share * counts), 1, counts - 1)
    is_test = rank < tests[images.labels]
    return images.subset(~is_test), images.subset(is_test)
