"""Kernels that take less room when they are deflated: pruned, or of few values."""

import keras
import numpy as np

from keras_distill.tflite.from_keras import check_calibration, image_network, keras_rows
from keras_distill.tflite.tf_keras_twin import tf_keras_twin
from keras_distill.tflite.trunk_of import graph_of, trunk_of

BATCH = 64


def compressed(
    student,
    images,
    sparsity=None,
    clusters=None,
    epochs=12,
    learning_rate=1e-3,
    seed=0,
):
    """A copy of an embedder whose kernels take less room when they are deflated.

    With tensorflow-model-optimization, on a twin of the student's trunk in tf_keras,
    kernels are pruned by magnitude, gradually over the first two thirds of the steps
    (Zhu and Gupta, 2017, https://arxiv.org/abs/1710.01878), or have their weights tied
    to cluster centres (Han et al., ICLR 2016, https://arxiv.org/abs/1510.00149).
    Meanwhile the embeddings learn to point where those of the student point, over
    images that need no labels, with batch normalisation frozen. The library leaves
    depthwise kernels as they are.

    What comes back is another embedder: export it as a student of its own, and do not
    search with it among embeddings of the one it was made of. A file is as long as
    before; only a compressed one is shorter. `export.modes --compress` measures what is
    won and lost.

    Args:
        student: Functional `keras.Model`, see `tf_keras_twin` for its layers. It is not
            changed.
        images: uint8 array `(count, height, width, channels)` of training images.
        sparsity: Float in (0, 1), the share of each kernel that becomes 0.
        clusters: Integer from 2, how many values each kernel keeps. One of the two is
            to be given.
        epochs: Positive integer. Defaults to `12`.
        learning_rate: Of Adam, falling to 0 as a cosine. Defaults to `1e-3`: with 1e-4
            sixteen clusters are not yet learnt after as many epochs.
        seed: Integer, of the order of images and the first centres.

    Returns:
        `keras.Model` like `student`.

    Raises:
        ValueError: If the student has another form or an argument is not as described.
        TypeError: If `images` is not uint8.
        ImportError: If tensorflow-model-optimization is not installed.
    """
    image_network(student, "student", "embeddings (batch, dim)")
    images = check_calibration(images, student.input_shape[1:], "compressed")
    _check(sparsity, clusters, epochs, learning_rate)
    import tf_keras

    copy = keras.models.clone_model(student)
    copy.set_weights(student.get_weights())
    before, trunk, _ = trunk_of(copy)
    tf_keras.utils.set_random_seed(seed)
    twin = tf_keras_twin(trunk)
    for layer in twin.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.trainable = False
    steps = epochs * -(-len(images) // BATCH)
    if sparsity is not None:
        wrapped, strip, callbacks = _pruned(twin, sparsity, steps)
    else:
        wrapped, strip, callbacks = _clustered(twin, clusters)
    rate = tf_keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    wrapped.compile(tf_keras.optimizers.Adam(rate), tf_keras.losses.CosineSimilarity())
    wrapped.fit(
        keras_rows(before, images),
        keras_rows(student, images),
        BATCH,
        epochs,
        verbose=0,
        callbacks=callbacks,
    )
    stripped = strip(wrapped)
    layers = {step.layer.name: step.layer for step in graph_of(trunk)[1:]}
    for layer in layers.values():
        if hasattr(layer, "kernel"):
            # Stripped of its wrapper, a layer may name its bias first.
            for weight in stripped.get_layer(layer.name).get_weights():
                own = layer.kernel if weight.ndim > 1 else layer.bias
                own.assign(np.reshape(weight, own.shape))
    return copy


def _pruned(twin, sparsity, steps):
    from tensorflow_model_optimization.sparsity import keras as pruning

    schedule = pruning.PolynomialDecay(
        0.0, sparsity, 0, max(1, 2 * steps // 3), frequency=1
    )
    wrapped = pruning.prune_low_magnitude(twin, schedule)
    return wrapped, pruning.strip_pruning, [pruning.UpdatePruningStep()]


def _clustered(twin, clusters):
    from tensorflow_model_optimization.clustering import keras as clustering

    centres = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
    wrapped = clustering.cluster_weights(twin, clusters, centres)
    return wrapped, clustering.strip_clustering, []


def _check(sparsity, clusters, epochs, learning_rate):
    if (sparsity is None) == (clusters is None):
        raise ValueError(
            "One of `sparsity` and `clusters` must be given. "
            f"Received: sparsity={sparsity}, clusters={clusters}"
        )
    if sparsity is not None and not 0 < sparsity < 1:
        raise ValueError(
            f"`sparsity` must lie in (0, 1). Received: sparsity={sparsity}"
        )
    if clusters is not None and (not isinstance(clusters, int) or clusters < 2):
        raise ValueError(
            f"`clusters` must be an integer from 2. Received: clusters={clusters!r}"
        )
    if not isinstance(epochs, int) or epochs < 1 or not 0 < learning_rate < 1:
        raise ValueError(
            "`epochs` must be a positive integer, `learning_rate` lie in (0, 1). "
            f"Received: epochs={epochs}, learning_rate={learning_rate}"
        )
