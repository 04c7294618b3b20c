"""Retrieval among classes that were never seen: the task of embedders."""

import keras_distill as kd
from keras_distill.class_globs import matching
from keras_distill.data.class_split import check_pairs
from train.comparison import specification
from train.comparison.measure import Measure
from train.comparison.task import Task

KS = (1, 2, 4, 8)


class Embedding(Task):
    """Unit vectors, measured by retrieval among held-out classes."""

    measures = {"recall_at_1": Measure("Recall@1"), "map_at_r": Measure("MAP@R")}
    student_fields = ("backbone", "dim")
    measured_by = "eval_classes"
    validated_by = "validation_classes"
    trained_by = "training_classes"
    optional = ("eval_classes", "training_classes")

    def load(
        self, path, image_size, eval_classes, validation_classes, training_classes=None
    ):
        training, measured = kd.data.load(path, image_size, eval_classes)
        if training_classes is not None:
            names = training.class_names
            kept = matching(names, training_classes, "training_classes")
        if validation_classes is not None:
            del measured
            training, measured = kd.data.class_split(training, validation_classes)
        if training_classes is not None:
            training = training.take_classes(lambda name: name in kept)
            check_pairs(training, "train")
        return training, measured

    def said(self, part):
        return ", ".join(f"`{glob}`" for glob in part or ())

    def described(self, student):
        return f"{student['backbone']}, {student['dim']} numbers"

    def model(self, image_shape, classes, student):
        return kd.models.embedder(student["backbone"], image_shape, student["dim"])

    def width(self, classes, student):
        return student["dim"]

    def resolved_loss(self, name, options):
        default = kd.losses.get(name, num_classes=2)
        left_out = ("name", "num_classes")
        return specification.completed(name, type(default), options, left_out)

    def make_loss(self, spec, classes):
        options = {key: value for key, value in spec.items() if key != "class"}
        return kd.losses.get(spec["class"], num_classes=classes, **options)

    def figures(self, said, labels):
        return kd.metrics.retrieval_report(said, labels, ks=KS, nmi=False)
