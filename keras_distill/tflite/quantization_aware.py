"""Train an embedder a little more while its weights and activations are rounded."""

import dataclasses

import keras
import numpy as np

from keras_distill.device.embedder import Embedder
from keras_distill.tflite.from_keras import (
    OUTPUT,
    SIGNATURE,
    check_calibration,
    from_keras,
    image_network,
    keras_rows,
)
from keras_distill.tflite.rounded_trunk import RoundedTrunk
from keras_distill.tflite.trunk_of import trunk_of

BATCH, HELD_OUT = 64, 0.2


@dataclasses.dataclass(frozen=True)
class QuantizationAware:
    """The better of a student and of what training with rounding made of it.

    Attributes:
        student: `keras.Model` to convert as `"int8"`: the one that was trained, or the
            very one that was given.
        trained: Whether it is the one that was trained.
        cosine_before: Mean cosine of the int8 file of the given student to that
            student, over images kept from training.
        cosine_after: That of the file of the trained one, to the given student too.
        images: How many images it was trained on.
        held_out: How many were kept from that.
    """

    student: object
    trained: bool
    cosine_before: float
    cosine_after: float
    images: int
    held_out: int

    def facts(self):
        """Dictionary for a manifest: all but the student."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names if name != "student"}

    def __str__(self):
        kept = "the trained student" if self.trained else "the student as it was"
        return (
            "Training with rounding took the int8 file's mean cosine to the student "
            f"from {self.cosine_before:.6f} to {self.cosine_after:.6f}, over "
            f"{self.held_out:,} images kept from it; kept is {kept}"
        )


def quantization_aware(
    student, images, epochs=6, learning_rate=1e-4, seed=0, progress=None
):
    """Teaches an embedder to give in 8 bits what it gives in float.

    The student itself is the teacher: over `images`, which need no labels, the mean
    of 1 - cosine between its embeddings and those of its trunk with simulated
    rounding (`RoundedTrunk`) goes down. Kernels and biases learn; batch
    normalisation keeps its statistics and factors, without which a few steps move an
    embedder further than rounding does. Where rounding costs next to nothing, these
    steps may cost more. So a fifth of the images takes no part in them: both students
    are converted, and the one whose int8 file embeds these images nearer to the
    student's embeddings is what comes back.

    tensorflow-model-optimization is not used: it rounds a depthwise kernel, whose
    last axis has length one, with one range for all channels, and kernels before
    normalisation is folded in, which is not what the file does. Measured, a student
    that it had trained was further from its teacher than an untrained one.

    Args:
        student: Functional `keras.Model` with the ends that `trunk_of` wants. It is
            not changed.
        images: uint8 array `(count, height, width, channels)` of training images, two
            or more. All of them calibrate both files.
        epochs: Positive integer. Defaults to `6`.
        learning_rate: Of Adam, falling to 0 as a cosine. Defaults to `1e-4`.
        seed: Integer, of the order of images, and of which are kept from training.
        progress: Function `(done, total)` called after each step.

    Returns:
        A `QuantizationAware`: `student`, which if it was `trained` is one like the
        given with other kernels and biases, and the cosines that decided.

    Raises:
        ValueError: If the student has another form or an argument is not as
            described.
        TypeError: If `images` is not uint8.
    """
    image_network(student, "student", "embeddings (batch, dim)")
    images = check_calibration(images, student.input_shape[1:], "int8-qat")
    if not isinstance(epochs, int) or epochs < 1 or not 0 < learning_rate < 1:
        raise ValueError(
            "`epochs` must be a positive integer, `learning_rate` lie in (0, 1). "
            f"Received: epochs={epochs}, learning_rate={learning_rate}"
        )
    if len(images) < 2:
        raise ValueError(
            "`images` must be two or more, of which some are kept from training. "
            f"Received: images.shape={images.shape}"
        )
    trunk_of(student)  # refuses one of another form
    random = np.random.default_rng(seed)
    split = max(1, round(HELD_OUT * len(images)))
    held_out, learnt = np.split(random.permutation(len(images)), [split])
    targets = keras_rows(student, images)
    taught = _taught(
        student, images, targets, learnt, epochs, learning_rate, random, progress
    )
    before, after = (
        _cosine(network, images, held_out, targets) for network in (student, taught)
    )
    # Not a number is not nearer.
    trained = bool(after > before)
    kept = taught if trained else student
    return QuantizationAware(kept, trained, before, after, len(learnt), len(held_out))


def _taught(student, images, targets, learnt, epochs, learning_rate, random, progress):
    """A copy of the student, trained on some of the images with rounding."""
    import tensorflow as tf

    copy = keras.models.clone_model(student)
    copy.set_weights(student.get_weights())
    before, trunk, after = trunk_of(copy)
    rounded = RoundedTrunk(trunk)
    for start in range(0, len(images), BATCH):
        rounded.measure(before(_float(images[start : start + BATCH])))
    steps = epochs * -(-len(learnt) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(rounded.variables)
    values = [variable.value for variable in rounded.variables]

    @tf.function(reduce_retracing=True)
    def step(pixels, wanted):
        with tf.GradientTape() as tape:
            rows = after(rounded(before(pixels)))
            loss = tf.reduce_mean(1 - tf.reduce_sum(rows * wanted, axis=-1))
        optimizer.apply(tape.gradient(loss, values), rounded.variables)

    done = 0
    for _ in range(epochs):
        order = random.permutation(learnt)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            step(tf.constant(_float(images[rows])), tf.constant(targets[rows]))
            done += 1
            if progress is not None:
                progress(done, steps)
    return copy


def _cosine(network, images, held_out, targets):
    """Mean cosine of the network's int8 file to the targets of the held out images."""
    model = from_keras(network, "int8", images, SIGNATURE, OUTPUT)
    rows = Embedder(model).embed(images[held_out]).astype(np.float64)
    return float(np.mean(np.sum(rows * targets[held_out], axis=1)))


def _float(images):
    return images.astype("float32")
