"""Normalises by its averages in training too, and trains scale and offset alone."""

import keras
import numpy as np
import tensorflow as tf

from keras_distill import layers

rng = np.random.default_rng(0)
ROWS = rng.normal(3.0, 2.0, (16, 5)).astype("float32")
# In the order of the layer: scale, offset, average, variance.
WEIGHTS = [rng.uniform(0.5, 2.0, 5).astype("float32") for _ in range(4)]


def made(kind=layers.FrozenBatchNormalization, **options):
    layer = kind(epsilon=1e-3, **options)
    layer.build((None, 5))
    layer.set_weights(WEIGHTS)
    return layer


def test_it_is_the_formula_in_training_and_in_inference():
    scale, offset, mean, variance = (np.asarray(w, "float64") for w in WEIGHTS)
    expected = scale * (ROWS - mean) / np.sqrt(variance + 1e-3) + offset
    layer = made()
    for training in (True, False, None):
        found = layer(ROWS, training=training)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(layer.moving_mean, WEIGHTS[2])
        np.testing.assert_array_equal(layer.moving_variance, WEIGHTS[3])


def test_an_image_does_not_depend_on_its_batch():
    layer = made()
    alone = np.concatenate([layer(row[None], training=True) for row in ROWS])
    np.testing.assert_allclose(layer(ROWS, training=True), alone, rtol=1e-6)


def test_fit_on_tf_data_trains_scale_and_offset_and_nothing_else():
    layer = made()
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    batches = tf.data.Dataset.from_tensor_slices((ROWS, 0 * ROWS)).batch(4)
    model.fit(batches.map(lambda x, y: (x + 1.0, y)), shuffle=False, verbose=0)
    moved = [
        not np.array_equal(now, before)
        for now, before in zip(layer.get_weights(), WEIGHTS, strict=True)
    ]
    assert moved == [True, True, False, False]
    assert len(layer.trainable_weights) == 2


def test_its_weights_are_those_of_the_layer_that_it_stands_for():
    theirs, ours = made(keras.layers.BatchNormalization), made()
    assert [v.name for v in ours.weights] == [v.name for v in theirs.weights]
    np.testing.assert_array_equal(ours(ROWS), theirs(ROWS, training=False))
    assert np.abs(ours(ROWS) - theirs(ROWS, training=True)).max() > 0.1
