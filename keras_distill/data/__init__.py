"""Labelled images for training and evaluation, as `tf.data` pipelines."""

from keras_distill.data.box_batches import box_batches
from keras_distill.data.box_set import BoxSet, Dropped
from keras_distill.data.cache_embeddings import cache_embeddings
from keras_distill.data.class_balanced import class_balanced
from keras_distill.data.class_split import class_split
from keras_distill.data.epoch_plan import EpochPlan
from keras_distill.data.fixed_views import FixedViews
from keras_distill.data.glyphs import glyphs
from keras_distill.data.group_folders import group_folders
from keras_distill.data.groups import group_rows, groups
from keras_distill.data.image_folder import image_folder
from keras_distill.data.image_set import ImageSet
from keras_distill.data.instance_split import instance_split
from keras_distill.data.load import load
from keras_distill.data.load_boxes import load_boxes
from keras_distill.data.proxy_views import proxy_views
from keras_distill.data.teacher_cache import TeacherCache

__all__ = [
    "BoxSet",
    "Dropped",
    "EpochPlan",
    "FixedViews",
    "ImageSet",
    "TeacherCache",
    "box_batches",
    "cache_embeddings",
    "class_balanced",
    "class_split",
    "glyphs",
    "group_folders",
    "group_rows",
    "groups",
    "image_folder",
    "instance_split",
    "load",
    "load_boxes",
    "proxy_views",
]
