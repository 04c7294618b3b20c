"""Train an embedder a little more while its weights and activations are rounded."""

import keras
import numpy as np

from keras_distill.tflite.from_keras import check_calibration, image_network, keras_rows
from keras_distill.tflite.rounded_trunk import RoundedTrunk
from keras_distill.tflite.trunk_of import trunk_of

BATCH = 64


def quantization_aware(
    student, images, epochs=6, learning_rate=1e-4, seed=0, progress=None
):
    """Teaches an embedder to give in 8 bits what it gives in float.

    The student itself is the teacher: over `images`, which need no labels, the mean
    of 1 - cosine between its embeddings and those of its trunk with simulated
    rounding (`RoundedTrunk`) goes down. Kernels and biases learn; batch
    normalisation keeps its statistics and factors, without which a few steps move an
    embedder further than rounding does. Where rounding costs next to nothing, so may
    these steps: compare with post-training `"int8"` (`export.modes`) before using it.

    tensorflow-model-optimization is not used: it rounds a depthwise kernel, whose
    last axis has length one, with one range for all channels, and kernels before
    normalisation is folded in, which is not what the file does. Measured, a student
    that it had trained was further from its teacher than an untrained one.

    Args:
        student: Functional `keras.Model` with the ends that `trunk_of` wants. It is
            not changed.
        images: uint8 array `(count, height, width, channels)` of training images.
        epochs: Positive integer. Defaults to `6`.
        learning_rate: Of Adam, falling to 0 as a cosine. Defaults to `1e-4`.
        seed: Integer, of the order of images.
        progress: Function `(done, total)` called after each step.

    Returns:
        `keras.Model` like `student`, with other kernels and biases, to be converted
        as `"int8"`.

    Raises:
        ValueError: If the student has another form or an argument is not as
            described.
        TypeError: If `images` is not uint8.
    """
    import tensorflow as tf

    image_network(student, "student", "embeddings (batch, dim)")
    images = check_calibration(images, student.input_shape[1:], "int8-qat")
    if not isinstance(epochs, int) or epochs < 1 or not 0 < learning_rate < 1:
        raise ValueError(
            "`epochs` must be a positive integer, `learning_rate` lie in (0, 1). "
            f"Received: epochs={epochs}, learning_rate={learning_rate}"
        )
    copy = keras.models.clone_model(student)
    copy.set_weights(student.get_weights())
    before, trunk, after = trunk_of(copy)
    targets = keras_rows(student, images)
    rounded = RoundedTrunk(trunk)
    for start in range(0, len(images), BATCH):
        rounded.measure(before(_float(images[start : start + BATCH])))
    steps = epochs * -(-len(images) // BATCH)
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

    random, done = np.random.default_rng(seed), 0
    for _ in range(epochs):
        order = random.permutation(len(images))
        for start in range(0, len(images), BATCH):
            rows = order[start : start + BATCH]
            step(tf.constant(_float(images[rows])), tf.constant(targets[rows]))
            done += 1
            if progress is not None:
                progress(done, steps)
    return copy


def _float(images):
    return images.astype("float32")
