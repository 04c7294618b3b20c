"""Weigh the images of a group by how discriminable each of them is."""

from keras_distill.methods.discriminability import discriminability as discriminability
from keras_distill.methods.group_pooling import group_weights as group_weights
from keras_distill.methods.group_pooling import pool_groups as pool_groups
