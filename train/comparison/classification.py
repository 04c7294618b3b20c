"""Other images of the classes that were trained on: the task of classifiers."""

import keras_distill as kd
from train.comparison.measure import Measure
from train.comparison.task import Task

LOSS = "cross_entropy"


class Classification(Task):
    """Logits of a closed set of classes, measured on images put aside of each."""

    measures = {
        "accuracy": Measure("accuracy"),
        LOSS: Measure("cross-entropy", 1.0, 4, "nats", more_is_better=False),
    }
    units = "Accuracy in per cent, cross-entropy in nats, of which less is better"
    apart = "images"
    measured = "test"
    measured_by = "test_share"
    validated_by = "validation_share"

    def load(self, path, image_size, test_share, validation_share):
        if path.startswith("tfds:"):
            raise ValueError(
                "Classifiers need all classes of their data in one set, and tfds: "
                "data come split by class: take 'glyphs' or a folder of images. "
                f"Received: data={path!r}"
            )
        images = (
            kd.data.glyphs(image_size)
            if path == "glyphs"
            else kd.data.image_folder(path, image_size)
        )
        training, test = kd.data.instance_split(images, test_share)
        if validation_share is None:
            return training, test
        del test
        return kd.data.instance_split(training, validation_share)

    def said(self, part):
        return "" if part is None else f"{100 * part:g} % of each class"

    def described(self, student):
        return student["backbone"]

    def model(self, image_shape, classes, student):
        return kd.models.classifier(student["backbone"], image_shape, classes)

    def width(self, classes, student):
        return classes

    def resolved_loss(self, name, options):
        if name != LOSS or options:
            raise ValueError(
                f"Classifiers are trained with the loss {LOSS!r}, which has no "
                f"options. Received: loss={name!r}, loss_options={options}"
            )
        return {"class": LOSS}

    def make_loss(self, spec, classes):
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def figures(self, said, labels):
        import numpy as np

        logits = said.astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        true = logits[np.arange(len(labels)), labels]
        losses = np.log(np.exp(logits).sum(axis=1)) - true
        return {
            "accuracy": float((logits.argmax(axis=1) == labels).mean()),
            LOSS: float(losses.mean()),
        }
