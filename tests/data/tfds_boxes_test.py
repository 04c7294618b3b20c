"""Detection data of TensorFlow Datasets, with builders of our own."""

import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_distill.data import load_boxes
from tests.data.box_folders import IMAGES, NAMES, SIZE

TFDS_SPLITS = {"train": "train", "validation": "val", "test": "test"}


def builder(extra, splits=tuple(TFDS_SPLITS)):
    """The class of a data set with `IMAGES`; `extra` is a flag its boxes have."""

    class Boxes(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            one = {
                "bbox": tfds.features.BBoxFeature(),
                "label": tfds.features.ClassLabel(names=NAMES),
                **({extra: np.bool_} if extra else {}),
            }
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(encoding_format="png"),
                        "objects": tfds.features.Sequence(one),
                    }
                )
            )

        def _split_generators(self, download_manager):
            return {split: self._generate_examples(split) for split in splits}

        def _generate_examples(self, split):
            width, height = SIZE
            for number, (own, boxes, classes) in enumerate(IMAGES.values()):
                if own != TFDS_SPLITS[split]:
                    continue
                yield (
                    number,
                    {
                        "image": np.full((height, width, 3), 10 * number, np.uint8),
                        "objects": [
                            {
                                "bbox": tfds.features.BBox(
                                    xmin=x1 / width,
                                    ymin=y1 / height,
                                    xmax=x2 / width,
                                    ymax=y2 / height,
                                ),
                                "label": label,
                                **({extra: x1 == 0} if extra else {}),
                            }
                            for (x1, y1, x2, y2), label in zip(
                                boxes, classes, strict=True
                            )
                        ],
                    },
                )

    return Boxes


@pytest.fixture
def load(monkeypatch, tmp_path):
    def load(name, kind, **options):
        def fake(asked):
            assert f"tfds:{asked}" == name
            return kind(data_dir=tmp_path)

        monkeypatch.setattr(tfds, "builder", fake)
        return load_boxes(name, (60, 80), **options)

    return load


@pytest.mark.parametrize(
    "name, extra",
    [
        ("tfds:bccd", None),
        ("tfds:voc", "is_difficult"),
        ("tfds:coco", "is_crowd"),
        ("tfds:coco/2017", "is_crowd"),
    ],
)
def test_records_become_boxes_in_pixels(load, name, extra):
    splits = ("train", "validation", "test")
    train, evaluation = load(name, builder(extra, splits))
    held_out = "validation" if "coco" in name else "test"
    assert evaluation.ids == (f"{name}/{held_out}/000000",)
    assert train.ids[:2] == (f"{name}/train/000000", f"{name}/train/000001")
    assert len(train) == (2 if "coco" in name else 3)
    assert train.class_names == tuple(NAMES)
    np.testing.assert_allclose(
        train.boxes[0], [[8, 4, 40, 24], [0, 0, 80, 60]], atol=1e-4
    )
    assert train.labels[0].tolist() == [1, 0] and len(train.boxes[1]) == 0
    assert train.ignored[0].tolist() == [False, extra is not None]
    values = train.images.read(range(len(train)))[:, 0, 0, 0]
    assert values[:2].tolist() == [0, 10]


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'keras_distill\[tfds\]'"):
        load_boxes("tfds:voc", 32)
