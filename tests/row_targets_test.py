"""Targets are looked up by row, in tables of any length, by one traced step."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.row_targets import RowTargets


def table(count, scale=1.0):
    targets = RowTargets()
    targets.assign(scale * np.arange(count), np.arange(count) % 2 > 0)
    return targets


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("jit", [None, False, True], ids=["eager", "graph", "XLA"])
def test_each_row_has_its_target_and_its_weight(jit, dtype):
    targets = table(5, scale=0.1)
    look_up = targets.look_up
    if jit is not None:
        look_up = tf.function(look_up, jit_compile=jit)
    found, weights = look_up(tf.constant([4, 0, 4, 1], dtype))
    np.testing.assert_allclose(found, [[0.4], [0.0], [0.4], [0.1]], rtol=1e-6)
    np.testing.assert_array_equal(weights, [0, 0, 0, 1])
    assert found.dtype == weights.dtype == tf.float32


@pytest.mark.parametrize("row", [-1, 5, 2**40])
@pytest.mark.parametrize("graph", [False, True])
def test_a_row_beyond_the_table_stops_the_step(graph, row):
    targets = table(5)
    look_up = tf.function(targets.look_up) if graph else targets.look_up
    with pytest.raises(tf.errors.InvalidArgumentError, match="No target was computed"):
        look_up(tf.constant([0, row], tf.int64))


def test_before_any_is_assigned_every_row_is_beyond_the_table():
    with pytest.raises(tf.errors.InvalidArgumentError, match="No target was computed"):
        RowTargets().look_up(tf.constant([0]))


def test_where_nothing_can_be_asserted_a_row_beyond_the_table_is_no_number():
    look_up = tf.function(table(5).look_up, jit_compile=True)
    found, _ = look_up(tf.constant([1, -1, 5, 2**40], tf.int64))
    np.testing.assert_array_equal(np.isnan(found[:, 0]), [False, True, True, True])


def test_a_table_can_be_used_for_a_while_and_put_back():
    targets = table(3)
    with pytest.raises(KeyError), targets.put_back():
        targets.assign([7.0], [1.0])
        assert float(targets.look_up(tf.constant([0]))[0][0, 0]) == 7
        raise KeyError
    np.testing.assert_array_equal(targets.look_up(tf.range(3))[0][:, 0], [0, 1, 2])
