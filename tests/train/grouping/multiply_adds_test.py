import keras
from keras import layers

from keras_distill import models
from train.grouping.multiply_adds import multiply_adds


def test_convolutions_and_dense_layers_by_hand():
    # A map of 48, 24, 12 and 6 pixels; kernels of 3 x 3; 1 channel, then 32.
    model = models.embedder("conv4_32", (48, 48, 1), 16)
    expected = 48**2 * 9 * 1 * 32
    expected += (24**2 + 12**2 + 6**2) * 9 * 32 * 32 + 32 * 16
    assert multiply_adds(model) == expected


def test_depthwise_grouped_and_strided_convolutions_by_hand():
    images = keras.Input((10, 8, 4))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(images)
    x = layers.Conv2D(6, (3, 5), strides=2, groups=2, padding="same")(x)
    x = layers.Dense(7)(x)  # in each of 5 x 4 places
    expected = 10 * 8 * 8 * 9 + 5 * 4 * 6 * (3 * 5 * 8 // 2) + 5 * 4 * 6 * 7
    assert multiply_adds(keras.Model(images, x)) == expected


def test_nested_and_shared_layers_count_as_often_as_they_run():
    inner = keras.Sequential([layers.Input((4, 4, 2)), layers.Conv2D(2, 1)])
    images = keras.Input((4, 4, 2))
    twice = keras.Model(images, inner(inner(images)))
    assert multiply_adds(inner) == 16 * 4
    assert multiply_adds(twice) == 2 * 16 * 4


def test_a_published_count():
    # Howard et al., 2017, table 9: 0.25 MobileNet-128 has 14 million multiply-adds.
    net = keras.applications.MobileNet((128, 128, 3), alpha=0.25, weights=None)
    assert round(multiply_adds(net), -6) == 14e6


def test_of_a_model_of_no_one_size_nothing_is_said():
    images = keras.Input((None, None, 1))
    assert multiply_adds(keras.Model(images, layers.Conv2D(2, 3)(images))) is None
    assert multiply_adds(keras.Sequential([layers.Flatten(), layers.Dense(2)])) is None
