"""Keras callbacks for training embeddings."""

from keras_distill.callbacks.coefficient_schedule import CoefficientSchedule
from keras_distill.callbacks.detection_evaluation import DetectionEvaluation
from keras_distill.callbacks.discriminability_targets import DiscriminabilityTargets
from keras_distill.callbacks.prototype_refresh import PrototypeRefresh
from keras_distill.callbacks.retrieval_evaluation import RetrievalEvaluation
from keras_distill.callbacks.student_snapshot import StudentSnapshot

__all__ = [
    "CoefficientSchedule",
    "DetectionEvaluation",
    "DiscriminabilityTargets",
    "PrototypeRefresh",
    "RetrievalEvaluation",
    "StudentSnapshot",
]
