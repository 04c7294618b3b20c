"""Retrieval among classes that were never seen: the task of embedders."""

import keras_distill as kd
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
    optional = ("eval_classes",)

    def load(self, path, image_size, eval_classes, validation_classes):
        training, evaluation = kd.data.load(path, image_size, eval_classes)
        if validation_classes is None:
            return training, evaluation
        del evaluation
        return kd.data.class_split(training, validation_classes)

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
