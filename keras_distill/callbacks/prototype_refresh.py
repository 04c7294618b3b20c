"""Choose the prototypes anew before each epoch, from the student as it is."""

import keras
import numpy as np
import tensorflow as tf

from keras_distill import ranges
from keras_distill.data.image_sums import are_alike, image_sums


class PrototypeRefresh(keras.callbacks.Callback):
    """Looks through data before an epoch and gives a `GlobalKnowledge` its prototypes.

    Student and teacher see every image in inference mode, until the classes have enough
    instances; those of each class and level are reconstructed by a few of them,
    `methods.prototypes.select_prototypes`, which become its prototypes. Then the
    method's `attenuation` becomes `1 - epoch / epochs`, if it is to fade.

    `fit` of a `Distiller` adds one for the data it trains on, augmented as they are:
    then the teacher is asked again each time, and data whose iterations are epochs, as
    those of `box_batches`, are moved on by one that is not trained on. Better give the
    same images without augmentation, in an order that does not change, and prepared as
    for training:

        plain = kd.data.box_batches(boxes, 8, reshuffle=False)
        refresh = kd.callbacks.PrototypeRefresh(method, data=plain)
        distiller.fit(batches, epochs=12, callbacks=[refresh])

    and the teacher is asked once. If other pixels, boxes or labels come the next time
    that is refused, for its features would be those of other instances.

    A class has the instances of the first `max_images` images that show it: shuffle
    data that are sorted (`shuffle(..., seed=0, reshuffle_each_iteration=False)`).

    Prototypes are variables of the method, saved with it. A resumed run computes them
    again from the student that was saved, and goes on as if it had not stopped.

    Args:
        method: A `GlobalKnowledge` of the model that is trained. Of it are used
            `features(views)`, `take_prototypes(...)` and its state.
        data: Finite `tf.data.Dataset` of batches `(images, targets)` as they are
            trained on; `None` for the training data.
        epochs: Integer >= 1, the epochs in all, where `fit` is called for parts of
            them; `None` for those of `fit`.
        every: Integer >= 1: refresh before the first epoch with this method and then
            every so many epochs.
        max_images: Integer >= 1, images a class. 800 is the authors'.
        max_instances: Integer >= 1, instances a class: time and memory of the choice
            grow with their square.

    Attributes:
        method: As given. `fit` adds no second one for the same method.
        counts: Integers `(num_classes,)`, the instances that each class had at the last
            refresh; `None` before. A class with 0 has no prototypes: its instances are
            fully trusted, and compared with the prototypes of the others.

    Raises:
        TypeError: If `data` is no data set.
        ValueError: If it has no end or an argument is out of its range; when training
            begins, if `fit` does not reach `start_epoch`, or goes beyond `epochs`;
            before an epoch, if there are no instances at all or a label is no class.
    """

    def __init__(
        self,
        method,
        data=None,
        epochs=None,
        every=1,
        max_images=800,
        max_instances=4000,
    ):
        super().__init__()
        ranges.count(1, every=every, max_images=max_images, max_instances=max_instances)
        if epochs is not None:
            ranges.count(1, epochs=epochs)
        if data is not None:
            _refuse_endless(data)
        self.method = method
        self.data, self.epochs, self.every = data, epochs, every
        self.max_images, self.max_instances = max_images, max_instances
        self.counts = None
        self._trained_on = None
        self._cached = self._forward = None
        self._asked = (None, None)
        self._total = epochs

    def will_train_on(self, x, y=None):
        """Receives what `fit` trains on, for a callback without data of its own."""
        if isinstance(x, tf.data.Dataset):
            self._trained_on = x
        elif y is not None:
            self._trained_on = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)

    def on_train_begin(self, logs=None):
        asked = (self.params or {}).get("epochs")
        self._total = asked if self.epochs is None else self.epochs
        if self._total is None or (asked is not None and asked > self._total):
            raise ValueError(
                "Prototypes and fading terms follow the epochs of `fit`, which must "
                "not be more than PrototypeRefresh was told of. "
                f"Received: epochs={asked}, PrototypeRefresh(epochs={self.epochs})"
            )
        if self.method.start_epoch >= self._total:
            raise ValueError(
                f"{self.method.name!r} begins after the last epoch. Received: "
                f"start_epoch={self.method.start_epoch}, epochs={self._total}"
            )
        models = self.model, self.model.teacher
        if any(
            one is not other for one, other in zip(models, self._asked, strict=True)
        ):
            # What was traced, and what the teacher said, is of other models.
            self._asked, self._forward, self._cached = models, None, None

    def on_epoch_begin(self, epoch, logs=None):
        method = self.method
        fading = 1.0 - epoch / self._total if method.attenuate else 1.0
        since = epoch - method.start_epoch
        if since < 0:
            method.active.assign(0.0)
            return
        due = since % self.every == 0 or not method.refreshed.numpy()
        if method.needs_prototypes and due:
            self.refresh()
        method.attenuation.assign(fading)
        method.active.assign(1.0)

    def refresh(self):
        """Chooses prototypes now."""
        data = self.data
        if data is None:
            if self._trained_on is None:
                raise ValueError(
                    "There must be data to choose prototypes from: give "
                    "PrototypeRefresh(method, data=...). "
                    "Received: data=None, and training data that are no data set"
                )
            data = self._trained_on
            _refuse_endless(data)
        pool = self._pool(data)
        self.counts = np.bincount(pool["label"], minlength=self.method.num_classes)
        self.method.take_prototypes(pool["student"], pool["teacher"], pool["label"])

    def _pool(self, data):
        """Features of the instances that prototypes are chosen from."""
        room = _Room(self.method.num_classes, self.max_images, self.max_instances)
        forward, cached = self._traced(), self._cached
        parts = {"student": [], "teacher": [], "label": [], "image": []}
        for inputs, targets, *_ in data:
            found = forward(inputs, targets, teacher=cached is None)
            found = keras.tree.map_structure(np.asarray, found)
            self._refuse_unknown(found["labels"])
            taken = room.take(found["labels"], found["present"])
            parts["label"].append(found["labels"][taken])
            parts["image"].append(found["sums"][np.nonzero(taken)[0]])
            for side in ("student", "teacher"):
                if side in found:
                    levels = found[side].items()
                    parts[side].append({level: x[taken] for level, x in levels})
            if room.full():
                break
        if not sum(map(len, parts["label"])):
            raise ValueError(
                "Prototypes are chosen among instances, and the data show none that is "
                "within its image, of a known class and larger than "
                f"min_side={self.method.min_side}. Received: data={data!r}"
            )
        pool = {
            side: keras.tree.map_structure(lambda *x: np.concatenate(x), *parts[side])
            for side in ("student", "teacher")
            if parts[side]
        }
        pool["label"] = np.concatenate(parts["label"])
        pool["image"] = np.concatenate(parts["image"])
        if cached is not None:
            _refuse_other_instances(pool, cached)
            pool["teacher"] = cached["teacher"]
        elif self.data is not None:
            self._cached = {name: pool[name] for name in ("teacher", "label", "image")}
        return pool

    def _refuse_unknown(self, labels):
        last = self.method.num_classes - 1
        if labels.max(initial=0) > last:
            raise ValueError(
                f"Labels must lie in 0..{last}, or below 0 in padding. Received: label "
                f"{labels.max()}, and {self.method.name!r} has num_classes={last + 1}"
            )

    def _traced(self):
        if self._forward is None:
            model, method = self.model, self.method

            def forward(inputs, targets, teacher):
                views = model.views(inputs, targets, teacher=teacher)
                images = keras.tree.flatten(views.images)[0]
                return {**method.features(views), "sums": image_sums(images)}

            self._forward = forward
            if not model.run_eagerly:
                self._forward = tf.function(
                    forward, autograph=False, reduce_retracing=True
                )
        return self._forward


class _Room:
    """How many instances of each class there is still room for."""

    def __init__(self, classes, images, instances):
        self.images = np.full(classes, images)
        self.instances = np.full(classes, instances)

    def take(self, labels, present):
        """Which instances of a batch are taken, image after image.

        Args:
            labels: Integers `(B, M)`.
            present: Booleans `(B, M)`.

        Returns:
            Booleans `(B, M)`.
        """
        taken = np.zeros_like(present)
        for image, there in enumerate(present):
            for label in np.unique(labels[image][there]):
                members = np.flatnonzero(there & (labels[image] == label))
                if self.images[label]:
                    members = members[: self.instances[label]]
                    taken[image, members] = True
                    self.images[label] -= 1
                    self.instances[label] -= len(members)
        return taken

    def full(self):
        return not np.any((self.images > 0) & (self.instances > 0))


def _refuse_endless(data):
    if not isinstance(data, tf.data.Dataset):
        raise TypeError(
            "`data` must be a tf.data.Dataset of batches (images, targets). "
            f"Received: data of type {type(data).__name__}"
        )
    if data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "Prototypes are chosen after a look through all data: they must come to an "
            "end. Give PrototypeRefresh(method, data=...) those that are repeated. "
            f"Received: data={data!r}"
        )


def _refuse_other_instances(pool, cached):
    same = np.array_equal(pool["label"], cached["label"])
    if not same or not are_alike(pool["image"], cached["image"]).all():
        raise ValueError(
            "`data` must show the same images and boxes in the same order each time: "
            "the teacher was asked about them once. Leave augmentation and shuffling "
            "out, or shuffle with a seed and reshuffle_each_iteration=False. Received: "
            f"other instances than at the first refresh, {len(pool['label'])} after "
            f"{len(cached['label'])}"
        )
