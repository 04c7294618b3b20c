import numpy as np

from keras_distill.retrieval.row_codes import row_codes


def cone(count=500, dim=12):
    """Unit rows around an axis, as those of one network are."""
    rng = np.random.default_rng(0)
    rows = np.ones(dim) + 0.1 * rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_two_bytes_tell_each_number_within_half_a_step_of_the_second():
    rows = cone()
    codes = row_codes(rows)
    # 127 steps of either sign, each of 254, over the widest row of a column.
    width = np.abs(rows - rows.mean(axis=0, dtype=np.float64)).max(axis=0)
    limit = width / 127 / 254 / 2 * 1.01 + 1e-7
    assert np.all(np.abs(codes.decoded() - rows) <= limit)
    assert codes.codes.dtype == codes.residuals.dtype == np.int8
    assert codes.codes.min() == -127 or codes.codes.max() == 127


def test_one_byte_tells_it_within_half_a_step_of_the_first():
    rows = cone()
    codes = row_codes(rows)
    coarse = codes.mean + codes.scales * codes.step * codes.codes
    width = np.abs(rows - rows.mean(axis=0)).max(axis=0)
    error = np.abs(coarse - rows)
    assert np.all(error <= width / 127 / 2 * 1.01)
    # That of the numbers as they are would be far coarser: they lie around 0.29.
    assert error.max() < np.abs(rows).max() / 127 / 2 / 2


def test_a_column_without_spread_and_a_single_row_are_exact():
    rows = cone()
    rows[:, 3] = 0.25
    np.testing.assert_array_equal(row_codes(rows).decoded()[:, 3], rows[:, 3])
    np.testing.assert_array_equal(row_codes(rows[:1]).decoded(), rows[:1])
