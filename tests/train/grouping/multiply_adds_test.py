import keras
import tensorflow as tf
from keras import layers

from keras_distill import models
from train.grouping.multiply_adds import multiply_adds


def test_convolutions_and_dense_layers_by_hand():
    # A map of 48, 24, 12 and 6 pixels; kernels of 3 x 3; 1 channel, then 32.
    model = models.embedder("conv4_32", (48, 48, 1), 16)
    expected = 48**2 * 9 * 1 * 32
    expected += (24**2 + 12**2 + 6**2) * 9 * 32 * 32 + 32 * 16
    assert multiply_adds(model, (48, 48, 1)) == expected


def test_depthwise_grouped_and_strided_convolutions_by_hand():
    images = keras.Input((10, 8, 4))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(images)
    x = layers.Conv2D(6, (3, 5), strides=2, groups=2, padding="same")(x)
    x = layers.Dense(7)(x)  # in each of 5 x 4 places
    expected = 10 * 8 * 8 * 9 + 5 * 4 * 6 * (3 * 5 * 8 // 2) + 5 * 4 * 6 * 7
    assert multiply_adds(keras.Model(images, x), (10, 8, 4)) == expected


def test_nested_and_shared_layers_count_as_often_as_they_run():
    inner = keras.Sequential([layers.Input((4, 4, 2)), layers.Conv2D(2, 1)])
    images = keras.Input((4, 4, 2))
    twice = keras.Model(images, inner(inner(images)))
    assert multiply_adds(inner, (4, 4, 2)) == 16 * 4
    assert multiply_adds(twice, (4, 4, 2)) == 2 * 16 * 4


def test_a_published_count():
    # Howard et al., 2017, table 9: 0.25 MobileNet-128 has 14 million multiply-adds.
    net = keras.applications.MobileNet((128, 128, 3), alpha=0.25, weights=None)
    assert round(multiply_adds(net, (128, 128, 3)), -6) == 14e6


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = layers.Conv2D(5, 3)

    def call(self, images, training=None):
        return self.inner(images)


def test_the_size_of_the_images_is_the_callers():
    images = keras.Input((None, None, 1))
    anywhere = keras.Model(images, layers.Conv2D(5, 3)(images))
    assert multiply_adds(anywhere, (6, 8, 1)) == 4 * 6 * 9 * 5
    assert multiply_adds(anywhere, (8, 8, 1)) == 6 * 6 * 9 * 5
    assert multiply_adds(Subclassed(), (6, 8, 1)) == 4 * 6 * 9 * 5


def test_of_a_product_of_no_fixed_shape_nothing_is_said():
    images = keras.Input((4, 4, 1))
    bright = layers.Lambda(lambda x: tf.boolean_mask(x, x[..., 0] > 9))(images)
    model = keras.Model(images, layers.Dense(2)(bright))
    assert multiply_adds(model, (4, 4, 1)) is None
