"""Distillation methods: functions that hold the mathematics, a class for `fit`."""

from keras_distill.methods.keras_distillation import KerasDistillation
from keras_distill.methods.method import Batch, Method, Term, Views
from keras_distill.methods.relational import RelationalKL
from keras_distill.methods.s2sd import S2SD

__all__ = [
    "S2SD",
    "Batch",
    "KerasDistillation",
    "Method",
    "RelationalKL",
    "Term",
    "Views",
]
