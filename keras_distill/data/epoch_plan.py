"""Which images make up each batch of each epoch, from hashes alone.

Order comes from hashes of seed, epoch and row instead of a random generator: nothing
has to be replayed to begin at any epoch.
"""

import numpy as np

from keras_distill.data.split_mix import split_mix


class EpochPlan:
    """Which rows make up each batch of each epoch; the order behind `class_balanced`.

    Args:
        labels: `(N,)` integers; classes are the values that occur.
        classes: P, different classes in a batch.
        per_class: K, images of each.
        seed: Integer.

    Attributes:
        steps: Batches an epoch.
        class_count: Classes that occur.
        few: How many of them have fewer than K images.

    Raises:
        ValueError: If there are fewer classes than `classes`, or a number is too small.
    """

    def __init__(self, labels, classes, per_class, seed=0):
        labels = np.asarray(labels)
        for name, number in [("classes", classes), ("per_class", per_class)]:
            if number < 2:
                raise ValueError(
                    f"`{name}` must be at least 2: a batch needs pairs of one class "
                    f"and of two. Received: {name}={number}"
                )
        _, self._labels, sizes = np.unique(
            labels, return_inverse=True, return_counts=True
        )
        self.class_count = len(sizes)
        if self.class_count < classes:
            raise ValueError(
                "A batch cannot hold more classes than there are. "
                f"Received: classes={classes}, data with {self.class_count} classes"
            )
        self.few = int((sizes < per_class).sum())
        self.steps = max(1, len(labels) // (classes * per_class))
        self._classes, self._per_class, self._seed = classes, per_class, seed
        self._sizes = sizes
        self._starts = np.cumsum(sizes) - sizes
        # Epochs it takes to visit every class: 1, unless there are few batches.
        self._round = -(-self.class_count // (self.steps * classes))
        # A round shows `window` images of each class at least; so many rounds make
        # a pass through the class, in one shuffled order.
        self._window = max(1, self.steps * classes // self.class_count) * per_class
        self._pass = -(-sizes // self._window)

    def epoch(self, number):
        """int64 `(steps, P * K)`: rows of the data, one batch a line."""
        slots, visits = self._slots(number)
        turn = number // self._round
        order = self._shuffled(turn)
        # The window begins where that of the last round of this pass ended.
        begin = (turn % self._pass * self._window)[slots] + visits * self._per_class
        offset = begin[:, None] + np.arange(self._per_class)
        offset %= self._sizes[slots][:, None]
        rows = order[self._starts[slots][:, None] + offset]
        return rows.reshape(self.steps, -1).astype(np.int64)

    def _slots(self, number):
        """Classes in the order of their places, and how often each came before.

        Shuffled rounds through all classes. A round begins with classes that the
        batch in which it begins does not hold yet.
        """
        count, places = self.class_count, self.steps * self._classes
        if places < count:  # No epoch shows every class; several together do.
            turn, part = divmod(number, self._round)
            order = np.argsort(split_mix(self._seed, 1, turn, np.arange(count)))
            place = part * places + np.arange(places)
            return order[place % count], place // count
        rounds = -(-places // count)
        slots = np.empty(0, np.int64)
        for turn in range(rounds):
            order = np.argsort(split_mix(self._seed, 2, number, turn, np.arange(count)))
            begun = slots[len(slots) - len(slots) % self._classes :]
            if len(begun):
                missing = self._classes - len(begun)
                fresh = order[~np.isin(order, begun)]
                later = np.isin(order, fresh[:missing], invert=True)
                order = np.concatenate([fresh[:missing], order[later]])
            slots = np.concatenate([slots, order])
        return slots[:places], np.repeat(np.arange(rounds), count)[:places]

    def _shuffled(self, turn):
        """Rows of the data, class after class, each class in its shuffled order."""
        number = (turn // self._pass)[self._labels]
        key = split_mix(self._seed, 3, number, np.arange(len(self._labels)))
        return np.lexsort((key, self._labels))
