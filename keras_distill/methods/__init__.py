"""Distillation methods: functions that hold the mathematics, a class for `fit`.

A new method is one line here: it makes the class public, and its name one that the
programs take for `--method`.
"""

from keras_distill.methods.attention_transfer import (
    AttentionTransfer as AttentionTransfer,
)
from keras_distill.methods.feature_cosine import FeatureCosine as FeatureCosine
from keras_distill.methods.feature_l2 import FeatureL2 as FeatureL2
from keras_distill.methods.global_knowledge import GlobalKnowledge as GlobalKnowledge
from keras_distill.methods.instance_soft_targets import (
    InstanceSoftTargets as InstanceSoftTargets,
)
from keras_distill.methods.keras_distillation import (
    KerasDistillation as KerasDistillation,
)
from keras_distill.methods.method import Batch as Batch
from keras_distill.methods.method import Method as Method
from keras_distill.methods.method import Term as Term
from keras_distill.methods.method import Views as Views
from keras_distill.methods.obd_sd import OBDSD as OBDSD
from keras_distill.methods.pad import PAD as PAD
from keras_distill.methods.pyramid_imitation import PyramidImitation as PyramidImitation
from keras_distill.methods.relational import RelationalKL as RelationalKL
from keras_distill.methods.rkd_angle import RKDAngle as RKDAngle
from keras_distill.methods.rkd_distance import RKDDistance as RKDDistance
from keras_distill.methods.s2sd import S2SD as S2SD
from keras_distill.methods.similarity_preserving import (
    SimilarityPreserving as SimilarityPreserving,
)
from keras_distill.methods.soft_targets import SoftTargets as SoftTargets
from keras_distill.methods.teacher_term import Comparison as Comparison
from keras_distill.methods.teacher_term import TeacherTerm as TeacherTerm

__all__ = sorted(name for name, thing in vars().items() if isinstance(thing, type))
