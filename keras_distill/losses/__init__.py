"""Metric-learning losses for `compile(loss=...)`, one class a file.

Every loss takes labels `(batch,)` or `(batch, 1)`, class numbers, and embeddings
`(batch, dim)`, computes in float32 whatever the policy, and returns `(batch,)`, scaled
so that the plain mean (Keras's default reduction) is the formula. A sample weight
therefore scales what a row adds as anchor: with weight 0 it is no anchor, but it is
still positive or negative of the others, and the divisor does not change. To take an
example out altogether, leave it out of the batch. (`ProxyAnchor` has no terms for
examples: each of its rows is the whole loss.)
"""

from keras_distill.losses.arc_face import ArcFace, arc_face_loss
from keras_distill.losses.contrastive import (
    Contrastive,
    contrastive_loss,
    contrastive_pairs,
    contrastive_triplets,
)
from keras_distill.losses.lifted_structure import (
    LiftedStructure,
    lifted_structure_loss,
)
from keras_distill.losses.margin import Margin, margin_loss
from keras_distill.losses.mining import (
    distance_weighted_probabilities,
    distance_weighted_triplets,
    semi_hard_candidates,
)
from keras_distill.losses.multi_similarity import (
    MultiSimilarity,
    multi_similarity_loss,
)
from keras_distill.losses.n_pairs import NPairs, n_pairs_loss, npairs
from keras_distill.losses.names import get, names, needs_num_classes
from keras_distill.losses.normalized_softmax import (
    NormalizedSoftmax,
    normalized_softmax_loss,
)
from keras_distill.losses.nt_xent import NTXent, nt_xent_loss
from keras_distill.losses.proxy_anchor import ProxyAnchor, proxy_anchor_loss
from keras_distill.losses.proxy_loss import ProxyLoss
from keras_distill.losses.proxy_nca import ProxyNCA, proxy_nca_loss
from keras_distill.losses.trainable_loss import TrainableLoss
from keras_distill.losses.triplet_hard import TripletHard, triplet_hard_loss
from keras_distill.losses.triplet_semi_hard import (
    TripletSemiHard,
    triplet_semi_hard_loss,
)
from keras_distill.losses.triplets import all_triplets_loss, triplet_loss

__all__ = [
    "ArcFace",
    "Contrastive",
    "LiftedStructure",
    "Margin",
    "MultiSimilarity",
    "NPairs",
    "NTXent",
    "NormalizedSoftmax",
    "ProxyAnchor",
    "ProxyLoss",
    "ProxyNCA",
    "TrainableLoss",
    "TripletHard",
    "TripletSemiHard",
    "all_triplets_loss",
    "arc_face_loss",
    "contrastive_loss",
    "contrastive_pairs",
    "contrastive_triplets",
    "distance_weighted_probabilities",
    "distance_weighted_triplets",
    "get",
    "lifted_structure_loss",
    "margin_loss",
    "multi_similarity_loss",
    "n_pairs_loss",
    "names",
    "needs_num_classes",
    "normalized_softmax_loss",
    "npairs",
    "nt_xent_loss",
    "proxy_anchor_loss",
    "proxy_nca_loss",
    "semi_hard_candidates",
    "triplet_hard_loss",
    "triplet_loss",
    "triplet_semi_hard_loss",
]
