import keras
import numpy as np
import pytest
from keras import layers

from keras_distill import models
from keras_distill.data.teacher_fingerprint import teacher_fingerprint


def small(seed=0, width=3, activation="relu", **kwargs):
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 1))
    x = layers.RandomFlip()(image)
    x = layers.Conv2D(width, 3, activation=activation, **kwargs)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([x, layers.Conv2D(width, 1)(x)])
    return keras.Model(image, layers.GlobalAveragePooling2D()(layers.Dropout(0.1)(x)))


class Silent(keras.Model):
    """A subclass that cannot say what it was made with."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, images):
        return self.inner(images)

    def get_config(self):
        raise NotImplementedError


def test_the_same_code_run_twice_makes_the_same_model():
    one, other = small(), small()
    assert one.layers[2].name != other.layers[2].name
    assert teacher_fingerprint(one) == teacher_fingerprint(other)


def test_an_option_that_is_called_as_a_layer_is_no_name():
    """The first `Softmax()` of a session is called "softmax", the next "softmax_1"."""

    def made():
        keras.utils.set_random_seed(0)
        image = keras.Input((4,))
        x = layers.Dense(3, activation="softmax")(image)
        return keras.Model(image, layers.Softmax()(x))

    keras.backend.clear_session()
    one, other = made(), made()
    assert one.layers[-1].name == "softmax" != other.layers[-1].name
    assert teacher_fingerprint(one) == teacher_fingerprint(other)


def test_freezing_compiling_and_saving_do_not_count(tmp_path):
    model = small()
    before = teacher_fingerprint(model)
    model.trainable = False
    model.compile("adam", "mse")
    assert teacher_fingerprint(model) == before
    model.save(tmp_path / "model.keras")
    assert teacher_fingerprint(keras.saving.load_model(tmp_path / "model.keras")) == (
        before
    )


def test_calling_the_model_does_not_count():
    model = small()
    before = teacher_fingerprint(model)
    model(np.ones((2, 8, 8, 1)), training=False)
    assert teacher_fingerprint(model) == before


@pytest.mark.parametrize(
    "other",
    [{"activation": "gelu"}, {"padding": "same"}, {"dtype": "mixed_float16"}],
    ids=str,
)
def test_another_architecture_with_the_same_weights_is_another(other):
    one, two = teacher_fingerprint(small()), teacher_fingerprint(small(**other))
    assert one["architecture"] != two["architecture"]
    assert one["weights"] == two["weights"]


def test_another_wiring_of_the_same_layers_is_another():
    def wired(swap):
        keras.utils.set_random_seed(0)
        image = keras.Input((8, 8, 1))
        parts = [image, layers.Conv2D(1, 3, padding="same")(image)]
        return keras.Model(image, layers.Subtract()(parts[::-1] if swap else parts))

    one, two = teacher_fingerprint(wired(False)), teacher_fingerprint(wired(True))
    assert one["weights"] == two["weights"]
    assert one["architecture"] != two["architecture"]


def test_other_weights_are_others_statistics_of_batches_too():
    one, two = teacher_fingerprint(small()), teacher_fingerprint(small(seed=1))
    assert one["architecture"] == two["architecture"]
    assert one["weights"] != two["weights"]
    model = small()
    model(np.random.default_rng(0).normal(size=(4, 8, 8, 1)), training=True)
    assert teacher_fingerprint(model)["weights"] != one["weights"]


def test_nested_and_subclassed_models_have_one():
    def nested():
        keras.utils.set_random_seed(0)
        return models.embedder("MobileNetV3Small", (32, 32, 1), 4)

    assert teacher_fingerprint(nested()) == teacher_fingerprint(nested())
    one, two = Silent(small()), Silent(small(seed=1))
    one(np.ones((1, 8, 8, 1))), two(np.ones((1, 8, 8, 1)))
    one, two = teacher_fingerprint(one), teacher_fingerprint(two)
    assert one["architecture"] == two["architecture"]
    assert one["weights"] != two["weights"]


def test_a_model_without_weights_is_refused():
    model = keras.Sequential([layers.Dense(3)], name="fresh")
    with pytest.raises(ValueError, match="must be built.*teacher='fresh'"):
        teacher_fingerprint(model)
