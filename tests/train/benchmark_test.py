"""The benchmark trains what it names, and divides what it has measured."""

import io

import pytest
import rich.console

from train import benchmark
from train.contenders import EPOCHS, Contender, time_criterion

SETTINGS = {
    "backbone": "conv4_16",
    "image_size": 16,
    "dim": 8,
    "classes": 3,
    "per_class": 2,
    "steps": 2,
}


@pytest.mark.parametrize("name", benchmark.AGAINST)
def test_every_contender_trains_as_many_steps_as_a_round_has(name):
    contender = Contender(name, SETTINGS)
    assert contender.steps() > 0 and contender.steps() > 0
    model = getattr(contender.model, "distiller", contender.model)
    assert int(model.optimizer.iterations) == 4
    if name == "OBD-SD":  # The first epoch of a training would cost nothing.
        (method,) = model.methods
        assert float(method.ramp) == pytest.approx((EPOCHS // 2) / EPOCHS)


def test_the_criterion_is_timed_alone():
    assert time_criterion({**SETTINGS, "dim": 4}, calls=1) > 0


def test_ratios_are_medians_over_rounds():
    rounds = {name: [1.0, 1.0, 9.0] for name in benchmark.AGAINST}
    rounds["S2SD"] = [1.2, 1.3, 9.9]
    rounds["features, keras_distill"] = [0.5, 0.6, 4.5]
    peaks = dict.fromkeys(rounds, 123_400_000) | {"OBD-SD": None}
    text = io.StringIO()
    rich.console.Console(file=text, width=79).print(benchmark.table(rounds, peaks))
    lines = {
        line[1:31].strip(): line[31:].split() for line in text.getvalue().split("\n")
    }
    assert lines["S2SD"] == ["1.300", "1.20", "<=", "1.15", "123"]
    assert lines["features, keras_distill"] == ["0.600", "0.50", "<=", "0.77", "123"]
    assert lines["OBD-SD"] == ["1.000", "1.00", "<=", "1.40", "-"]
    assert lines["plain"] == ["1.000", "123"]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--image-size", "0"], "--image-size must be at least 1. Received: 0"),
        (["--per-class", "1"], "at least 2: a batch needs pairs.*28 and 1"),
    ],
)
def test_refuses_what_cannot_be_measured(flags, message):
    with pytest.raises(ValueError, match=message):
        benchmark.main(flags)
