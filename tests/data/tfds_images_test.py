import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_distill import data


def picture(number):
    """One colour, which says what record it is of."""
    return np.full((6, 7, 3), [number, 255 - number, 7], np.uint8)


IMAGE = tfds.features.Image(encoding_format="png")
LABEL = tfds.features.ClassLabel


class TenCars(tfds.core.GeneratorBasedBuilder):
    """Ten classes, all in both splits; a picture's number is split and label."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = {"image": IMAGE, "label": LABEL(names=[f"car {n}" for n in range(10)])}

    def _info(self):
        features = tfds.features.FeaturesDict(self.FEATURES)
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, download_manager):
        return {name: self._generate_examples(name) for name in ("train", "test")}

    def _generate_examples(self, split):
        yield from enumerate(self.records(split))

    def records(self, split):
        for label in range(10):
            number = label + 100 * (split == "test")
            yield {"image": picture(number), "label": label}


class EightBirds(TenCars):
    """As caltech_birds2011: names and masks are features of the records."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = {
        "image": IMAGE,
        "label": LABEL(num_classes=8),
        "label_name": tfds.features.Text(),
        "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
    }

    def records(self, split):
        for record in list(super().records(split))[:8]:
            mask = np.zeros((6, 7, 1), np.uint8)
            name = f"{record['label'] + 1:03d}.Bird"
            yield {**record, "label_name": name, "segmentation_mask": mask}


class SixCharacters(TenCars):
    """As omniglot: classes 0 to 3 train, 4 and 5 are for tests, two images each."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = {
        "image": IMAGE,
        "label": LABEL(num_classes=6),
        "alphabet": LABEL(names=["Greek", "Latin"]),
        "alphabet_char_id": np.int64,
    }

    def records(self, split):
        for label in [4, 5, 4, 5] if split == "test" else [0, 1, 2, 3, 3, 2, 1, 0]:
            yield {
                "image": picture(label),
                "label": label,
                "alphabet": label // 3,
                "alphabet_char_id": label % 3,
            }


class FourProducts(TenCars):
    """As stanford_online_products."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = {
        "image": IMAGE,
        "class_id": LABEL(num_classes=4),
        "super_class_id": LABEL(names=["bicycle", "kettle"]),
    }

    def records(self, split):
        for number in [2, 3, 2, 3] if split == "test" else [1, 0, 0, 1]:
            yield {
                "image": picture(number),
                "class_id": number,
                "super_class_id": number % 2,
            }


@pytest.fixture
def load(monkeypatch, tmp_path):
    """`data.load` of a name, with a builder of ours in place of the real one."""

    def load(name, builder, **options):
        def fake(asked):
            assert f"tfds:{asked}" == name
            return builder(data_dir=tmp_path)

        monkeypatch.setattr(tfds, "builder", fake)
        return data.load(name, 8, **options)

    return load


def numbers(images):
    return images.arrays()[0][:, 0, 0, 0].tolist()


def test_cars_are_pooled_and_split_at_half_of_the_labels(load):
    train, evaluation = load("tfds:cars196", TenCars)
    assert train.class_names == tuple(f"car {n}" for n in range(5))
    assert evaluation.class_names == tuple(f"car {n}" for n in range(5, 10))
    for images, first in [(train, 0), (evaluation, 5)]:
        assert len(images) == 10 and images.image_shape == (8, 8, 3)
        expected = [first + label for label in images.labels]
        assert [number % 100 for number in numbers(images)] == expected
        for name, number in zip(images.ids, numbers(images), strict=True):
            split = "test" if number >= 100 else "train"
            assert name.startswith(f"tfds:cars196/{split}/")
    assert not set(train.ids) & set(evaluation.ids)


def test_birds_are_called_by_their_names(load):
    train, evaluation = load("tfds:caltech_birds2011", EightBirds)
    assert train.class_names[0] == "001.Bird"
    assert evaluation.class_names == ("005.Bird", "006.Bird", "007.Bird", "008.Bird")
    assert [n % 100 for n in numbers(evaluation)] == [4, 4, 5, 5, 6, 6, 7, 7]


def test_omniglot_keeps_its_splits(load):
    train, evaluation = load("tfds:omniglot", SixCharacters)
    assert train.class_names[:2] == ("Greek/character00", "Greek/character01")
    assert evaluation.class_names == ("Latin/character01", "Latin/character02")
    assert numbers(train) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert numbers(evaluation) == [4, 4, 5, 5]
    assert evaluation.labels.tolist() == [0, 0, 1, 1]


def test_products_keep_their_splits(load):
    train, evaluation = load("tfds:stanford_online_products", FourProducts)
    assert train.class_names == ("bicycle/00000", "kettle/00001")
    assert evaluation.class_names == ("bicycle/00002", "kettle/00003")
    assert numbers(evaluation) == [2, 2, 3, 3]


def test_globs_overrule_the_splits(load):
    train, evaluation = load("tfds:cars196", TenCars, eval_classes=["car [02]"])
    assert evaluation.class_names == ("car 0", "car 2") and len(train) == 16


def test_grey_can_be_asked_for_and_large_sets_stay_encoded(load):
    grey, _ = load("tfds:cars196", TenCars, channels=1)
    assert grey.image_shape == (8, 8, 1)
    held, _ = load("tfds:cars196", TenCars)
    lazy, _ = load("tfds:cars196", TenCars, memory_limit=0)
    assert held.in_memory and not lazy.in_memory
    assert held.fingerprint() == lazy.fingerprint()
    np.testing.assert_array_equal(held.arrays()[0], lazy.arrays()[0])


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'keras_distill\[tfds\]'"):
        data.load("tfds:omniglot", 32)


def test_names_that_are_not_known_are_refused():
    with pytest.raises(ValueError, match="one of tfds:omniglot, .*name='tfds:mnist'"):
        data.load("tfds:mnist", 32)
