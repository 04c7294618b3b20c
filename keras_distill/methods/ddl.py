"""The mathematics of DDL: what an image is worth, and a group of them.

The paper's name for what has files of its own; `keras_distill.DDL` trains the scorer.
DDL is Discriminability Distillation, Zhang et al., ECCV 2020,
https://arxiv.org/abs/2008.10850; not Distribution Distillation Loss, of the same
conference, about faces too and shortened alike (https://arxiv.org/abs/2002.03662).
"""

from keras_distill.group_pooling import group_weights as group_weights
from keras_distill.group_pooling import pool_groups as pool_groups
from keras_distill.methods.discriminability import Discriminability as Discriminability
from keras_distill.methods.discriminability import discriminability as discriminability
