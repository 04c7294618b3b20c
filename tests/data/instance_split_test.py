"""An instance split keeps the classes and parts their images."""

import numpy as np
import pytest

import keras_distill as kd


def image_set(labels, prefix="id"):
    labels = np.array(labels)
    pixels = np.zeros((len(labels), 4, 4, 1), np.uint8)
    ids = [f"{prefix}/{row}" for row in range(len(labels))]
    return kd.data.ImageSet(pixels, labels, ids=ids)


def test_every_class_is_on_both_sides_with_its_share():
    images = image_set(np.repeat([0, 1, 2], [20, 10, 2]))
    train, test = kd.data.instance_split(images, share=0.3)
    np.testing.assert_array_equal(np.bincount(test.labels), [6, 3, 1])
    np.testing.assert_array_equal(np.bincount(train.labels), [14, 7, 1])
    assert train.class_names == test.class_names == images.class_names
    assert sorted(train.ids + test.ids) == sorted(images.ids)


def test_the_choice_depends_on_the_ids_alone():
    images = image_set(np.tile(np.arange(4), 10))
    order = np.random.default_rng(0).permutation(40)
    _, test = kd.data.instance_split(images)
    _, again = kd.data.instance_split(images.subset(order))
    assert set(test.ids) == set(again.ids)
    _, other = kd.data.instance_split(image_set(np.tile(np.arange(4), 10), "other"))
    assert {i.split("/")[1] for i in other.ids} != {i.split("/")[1] for i in test.ids}


def test_a_share_near_one_leaves_an_image_to_train_on():
    train, _ = kd.data.instance_split(image_set(np.repeat([0, 1], 5)), share=0.99)
    np.testing.assert_array_equal(np.bincount(train.labels), [1, 1])


def test_refuses_a_share_out_of_range_and_lonely_images():
    with pytest.raises(ValueError, match=r"in \(0, 1\).*share=1.0"):
        kd.data.instance_split(image_set([0, 0]), share=1.0)
    with pytest.raises(ValueError, match="two images.*class '1' .* with 1"):
        kd.data.instance_split(image_set([0, 0, 1]))
