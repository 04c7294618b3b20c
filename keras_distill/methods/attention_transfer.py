"""Look where the teacher looks."""

import keras
import numpy as np
from keras import ops

from keras_distill.methods import agreement
from keras_distill.methods.teacher_term import TeacherTerm
from keras_distill.models.tap import layer_shape
from keras_distill.similarity import normalize


def attention_transfer(teacher, student):
    """Mean squared difference of two attention maps, image by image.

        Q = mean over channels of squared activations, flattened
        distance[i] = mean over cells of (Q_t / ||Q_t|| - Q_s / ||Q_s||)^2

    Channels may differ, and grids: see `attention_rows`. Does not change when teacher
    or student are scaled. An image without activation has an attention of zeros and
    gets no gradient.

    Args:
        teacher: Tensor `(batch, h, w, channels)`; gets no gradient.
        student: Tensor `(batch, h, w, channels)`.

    Returns:
        Float32 tensor `(batch,)` in [0, 2 / cells]: attention is nowhere negative.

    Raises:
        ValueError: As `attention_rows`.
    """
    return _mean_squares(*attention_rows(teacher, student))


def attention_rows(teacher, student):
    """Attention maps of two activations, as rows of length 1 on one grid.

    Each map is averaged down, by area and before it is normalised, to the grid of the
    lesser height and the lesser width: 7 cells become 4 as each takes the seven
    quarters of a cell that it covers.

    Args:
        teacher: Tensor `(batch, h, w, channels)`, h and w known; gets no gradient.
        student: Tensor `(batch, h, w, channels)`, h and w known.

    Returns:
        Two float32 tensors `(batch, cells)`, >= 0.

    Raises:
        ValueError: If an input is not of rank 4 with a known grid, or the batch sizes
            differ.
    """
    for name, x in (("teacher", teacher), ("student", student)):
        if len(x.shape) != 4 or None in x.shape[1:3]:
            raise ValueError(
                f"`{name}` must be maps (batch, h, w, channels) with h and w known. "
                f"Received: {name}.shape={tuple(x.shape)}"
            )
    agreement.of_batches(teacher, student)
    height, width = np.minimum(teacher.shape[1:3], student.shape[1:3])
    teacher = ops.stop_gradient(teacher)
    return tuple(_attention(x, height, width) for x in (teacher, student))


def _attention(x, height, width):
    # In float32 before squaring: float16 ends at 65504.
    x = ops.mean(ops.square(ops.cast(x, "float32")), axis=-1)  # (B, h, w)
    x = ops.matmul(_area_weights(x.shape[1], height), x)
    x = ops.matmul(x, _area_weights(x.shape[2], width).T)
    return normalize(ops.reshape(x, (-1, height * width)))


def _area_weights(size, cells):
    """`(cells, size)`: the share of each of `size` cells in each of fewer `cells`."""
    edges = np.arange(cells + 1) * (size / cells)
    begin = np.maximum(edges[:-1, None], np.arange(size))
    end = np.minimum(edges[1:, None], np.arange(1, size + 1))
    return (np.maximum(end - begin, 0) * (cells / size)).astype("float32")


def _mean_squares(teacher, student):
    return ops.mean(ops.square(teacher - student), axis=-1)


@keras.saving.register_keras_serializable(package="keras_distill")
class AttentionTransfer(TeacherTerm):
    """Activation-based attention transfer.

    `attention_transfer` between a map of the teacher and one of the student:
    Zagoruyko, Komodakis, "Paying More Attention to Attention: Improving the Performance
    of Convolutional Neural Networks via Attention Transfer", ICLR 2017,
    https://arxiv.org/abs/1612.03928, equation 2 with the mean of squares as attention.

    The paper adds up the norms of the differences, `beta / 2 * ||Q_t - Q_s||_2`; the
    authors' code, as here, takes the mean of their squares over images and cells, with
    `beta` as the weight. Their code wants one grid; here the finer one is averaged. For
    the several pairs of layers of the paper add a term for each.

    Args:
        weight: Float >= 0. Defaults to the authors' 1000: the term is at most 2 over
            the number of cells.
        student_layer: Path of a layer of the student that gives maps
            `(batch, h, w, channels)`.
        teacher_layer: The same for the teacher.
        name: Defaults to `"attention_transfer"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`.

    Raises:
        ValueError: If `weight` is out of its range, or if a layer gives no maps.
    """

    def __init__(
        self,
        weight=1000.0,
        student_layer="features",
        teacher_layer="features",
        name="attention_transfer",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)

    def take_teacher(self, teacher, student):
        shape = layer_shape(teacher, self.teacher_layer)
        self._check_map("teacher", self.teacher_layer, shape)

    def build(self, shapes):
        layer = self.student_layer
        self._check_map("student", layer, shapes[layer or "output"])
        super().build(shapes)

    def _check_map(self, model, layer, shape):
        if shape is not None and len(shape) != 4:
            raise ValueError(
                f"{self.name!r} compares maps (batch, h, w, channels): name another "
                f"`{model}_layer`. Received: {model}_layer={layer!r}, which gives "
                f"{tuple(shape)}"
            )

    def rows(self, views):
        # Only the attention crosses replicas, not the maps.
        maps = super().rows(views)
        teacher, student = attention_rows(maps["teacher"], maps["student"])
        return {"student": student, "teacher": teacher}

    def distance(self, teacher, student):
        return _mean_squares(teacher, student)
