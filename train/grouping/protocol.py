"""Groups of unseen classes, drawn again and again: who is compared with whom."""

import typing

import numpy as np

import keras_distill as kd

# False accept rates, where there are pairs for them.
FARS = (1e-1, 1e-2, 1e-3, 1e-4)
HEADLINE = 1e-2
RANKS = (1, 5)


class Draws(typing.NamedTuple):
    """Disjoint groups of each class, drawn T times.

    Attributes:
        images: `ImageSet` of the classes that have enough images.
        rows: Int array `(T, G, N)`: which of them each group has. The order within a
            group is by lot. No image occurs twice in a draw.
        labels: Int array `(G,)`, the class of each group.
        gallery: Bool array `(G,)`: the first group of each class is in the gallery,
            the others are probes.
        left_out: How many classes had too few images.
    """

    images: kd.data.ImageSet
    rows: np.ndarray
    labels: np.ndarray
    gallery: np.ndarray
    left_out: int

    @property
    def pairs(self):
        """`(genuine, impostor)`: how many pairs of gallery and probe a draw has."""
        same = self.labels[self.gallery][:, None] == self.labels[~self.gallery]
        return int(same.sum()), int((~same).sum())


def draw(images, size, groups, count, seed):
    """Draws groups.

    Args:
        images: `ImageSet`.
        size: N, images a group.
        groups: How many of each class in a draw, at least 2.
        count: T, how many draws.
        seed: Integer.

    Returns:
        `Draws`.

    Raises:
        ValueError: If fewer than two classes have enough images.
    """
    from keras_distill.data.groups import group_rows

    sizes = np.bincount(images.labels, minlength=len(images.class_names))
    enough = sizes >= groups * size
    if enough.sum() < 2:
        raise ValueError(
            f"Two unseen classes need {groups * size} images each, for {groups} "
            f"disjoint groups of {size}. Received: {enough.sum()} such classes of "
            f"{len(sizes)}, the largest of {sizes.max()} images"
        )
    names = np.array(images.class_names)[enough]
    images = images.take_classes(names.tolist())
    drawn = [
        group_rows(images, size, groups, seed=seed, number=number)
        for number in range(count)
    ]
    return Draws(
        images,
        np.stack([one.rows for one in drawn]),
        drawn[0].labels,
        # The first groups of all classes come before the second ones.
        np.arange(groups * len(names)) < len(names),
        int((~enough).sum()),
    )


def fars(impostor):
    """The false accept rates that so many impostor pairs allow, highest first.

    Raises:
        ValueError: If they allow none.
    """
    allowed = tuple(far for far in FARS if far >= 1 / impostor)
    if not allowed:
        raise ValueError(
            f"A false accept rate of {FARS[0]:g} needs {1 / FARS[0]:.0f} impostor "
            f"pairs: name more unseen classes. Received: {impostor} pairs"
        )
    return allowed


def headline(impostor):
    """The false accept rate that is reported first."""
    return max(min(fars(impostor)), HEADLINE)


def figures(vectors, draws):
    """What the groups of one draw are worth as vectors.

    Args:
        vectors: Array `(G, D)`, any scale.
        draws: `Draws`.

    Returns:
        Dictionary of floats in [0, 1]: `tar_at_far_0.01` and so on for each rate the
        pairs allow, `rank_1` and `rank_5`.
    """
    sides = vectors[draws.gallery], draws.labels[draws.gallery]
    sides += vectors[~draws.gallery], draws.labels[~draws.gallery]
    tar = kd.metrics.verification(*sides, fars=fars(draws.pairs[1])).tar
    rates = kd.metrics.identification(*sides, ks=RANKS).rates
    return {
        **{f"tar_at_far_{far:g}": value for far, value in tar.items()},
        **{f"rank_{k}": value for k, value in rates.items()},
    }
