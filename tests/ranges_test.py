"""Numbers out of range are refused, and so is what is no number."""

import numpy as np
import pytest

from keras_distill import methods, ranges


@pytest.mark.parametrize("check", [ranges.not_negative, ranges.positive])
@pytest.mark.parametrize("value", [None, "1", [1.0], 1j])
def test_what_is_no_number_is_refused_as_such(check, value):
    with pytest.raises(ValueError, match="`weight` must be a number. Received: weight"):
        check(weight=value)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(1), np.int64(2)])
def test_numbers_of_numpy_are_numbers(value):
    ranges.not_negative(weight=value)
    ranges.positive(temperature=value)


def test_a_temperature_of_zero_is_refused_with_the_reason():
    message = "positive and finite: similarities are divided by it.*temperature=0"
    with pytest.raises(ValueError, match=message):
        methods.RelationalKL(temperature=0)


def test_counts_are_integers_of_python_or_numpy():
    for value in (3, np.int32(3), np.uint8(3)):
        ranges.count(3, steps=value)
    for value in (2, np.int64(2), 3.0, np.float32(3), True, np.True_, "3", None):
        with pytest.raises(ValueError, match="`steps` must be an integer, 3 or more"):
            ranges.count(3, steps=value)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: methods.S2SD(feature_delay=n).feature_delay,
        lambda n: methods.FeatureL2(teacher_dim=n).teacher_dim,
    ],
)
def test_integers_of_numpy_are_saved_as_pythons(make):
    assert type(make(np.int64(7))) is int


def test_every_coefficient_is_checked_where_it_is_made():
    class Own(methods.Method):
        def __init__(self, **coefficients):
            super().__init__()
            for name, value in coefficients.items():
                self.add_coefficient(name, value)

    with pytest.raises(ValueError, match="not negative.*sharpness=-1"):
        Own(weight=1.0, sharpness=-1)
