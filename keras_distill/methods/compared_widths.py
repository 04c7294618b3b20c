"""How wide is what a term compares, and what it predicts uncertainty from."""

import keras

from keras_distill.methods.method import Views


class _Compared(keras.Operation):
    """`term.compare` as an operation, which can be asked for shapes."""

    def __init__(self, term):
        super().__init__()
        self.term = term

    def call(self, embeddings, layers, teacher, teacher_layers):
        views = Views(embeddings, layers, teacher, teacher_layers)
        distance, features, _ = self.term.compare(self.term.rows(views))
        return (embeddings if features is None else features), distance


def widths(term, shapes):
    """Channels of the features of a comparison, and width of its distance.

    Found out without a teacher, which a loaded distiller does not have: one that is
    like the student, but as wide as the term wants it, tells as much.

    Args:
        term: A built `TeacherTerm`.
        shapes: As for `Method.build`.

    Returns:
        Pair of integers. Of a term with one distance a sample the second has no
        meaning.

    Raises:
        ValueError: If the student does not know the width of its output.
    """

    def student(path):
        # Which size an axis of a map has, where that is open, makes no difference.
        batch, *cells, width = shapes[path]
        return keras.KerasTensor((batch, *(n or 8 for n in cells), width))

    def teacher(path):
        like = student(path)
        if term.same_width:
            return keras.KerasTensor((*like.shape[:-1], term.teacher_dim))
        return like

    if shapes["output"][-1] is None:
        raise ValueError(
            "PAD must know how wide the student's output is, and only functional and "
            f"sequential models say so. Received: shape={tuple(shapes['output'])}"
        )
    partners = dict.fromkeys(term.teacher_layers, "output")
    partners.update(zip(term.teacher_layers, term.student_layers, strict=False))
    features, distance = _Compared(term).compute_output_spec(
        student("output"),
        {path: student(path) for path in shapes},
        teacher(term.student_layer or "output"),
        {path: teacher(partner) for path, partner in partners.items()},
    )
    return features.shape[-1], distance.shape[-1]
