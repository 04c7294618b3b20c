"""Prune a student's kernels, or let their weights share few values.

What tensorflow-model-optimization has beside quantisation, on a twin of the student's
trunk in tf_keras: `export.modes --compress` measures what it is worth.
"""

import numpy as np

BATCH, LEARNING_RATE = 64, 1e-3

# Name in the table, and the arguments of `compressed`.
WAYS = (
    ("50 % pruned, int8", {"sparsity": 0.5}),
    ("70 % pruned, int8", {"sparsity": 0.7}),
    ("64 clusters, int8", {"clusters": 64}),
    ("16 clusters, int8", {"clusters": 16}),
)


def compressed(student, images, epochs, sparsity=None, clusters=None, seed=0):
    """A copy of an embedder whose kernels take less room when they are deflated.

    Kernels are pruned by magnitude, gradually over the first two thirds of the steps
    (Zhu and Gupta, 2017, https://arxiv.org/abs/1710.01878), or have their weights tied
    to cluster centres (Han et al., ICLR 2016, https://arxiv.org/abs/1510.00149), while
    the embeddings learn to point where those of the student point, with batch
    normalisation frozen. The library leaves depthwise kernels as they are.

    Args:
        student: Functional `keras.Model`, see `keras_distill.tflite.tf_keras_twin`.
        images: uint8 array `(count, height, width, channels)` of training images.
        epochs: Positive integer.
        sparsity: Float in (0, 1), the share of each kernel that becomes 0; or `None`.
        clusters: Integer from 2, how many values each kernel keeps; or `None`.
        seed: Integer, of the order of images.

    Returns:
        `keras.Model` like `student`.
    """
    import keras
    import tensorflow_model_optimization as tfmot
    import tf_keras

    from keras_distill.tflite import tf_keras_twin
    from keras_distill.tflite.from_keras import keras_rows
    from keras_distill.tflite.trunk_of import graph_of, trunk_of

    tf_keras.utils.set_random_seed(seed)
    copy = keras.models.clone_model(student)
    copy.set_weights(student.get_weights())
    before, trunk, _ = trunk_of(copy)
    twin = tf_keras_twin(trunk)
    for layer in twin.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.trainable = False
    steps = epochs * -(-len(images) // BATCH)
    callbacks = []
    if sparsity is not None:
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            0.0, sparsity, 0, max(1, 2 * steps // 3), frequency=1
        )
        wrapped = tfmot.sparsity.keras.prune_low_magnitude(twin, schedule)
        callbacks.append(tfmot.sparsity.keras.UpdatePruningStep())
        strip = tfmot.sparsity.keras.strip_pruning
    else:
        centres = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS
        wrapped = tfmot.clustering.keras.cluster_weights(twin, clusters, centres)
        strip = tfmot.clustering.keras.strip_clustering
    rate = tf_keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
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
    for layer in {step.layer.name: step.layer for step in graph_of(trunk)[1:]}.values():
        if hasattr(layer, "kernel"):
            # Stripped of its wrapper, a layer may name its bias first.
            weights = stripped.get_layer(layer.name).get_weights()
            for weight in weights:
                own = layer.kernel if weight.ndim > 1 else layer.bias
                own.assign(np.reshape(weight, own.shape))
    return copy
