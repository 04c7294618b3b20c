"""The model that `fit` trains: a student with what teaches it."""

import math

import keras
import tensorflow as tf
from keras import ops

from keras_distill import fields, label_range, own_loss, replicas, weight_decay
from keras_distill.callbacks import needed_first
from keras_distill.loss_weights import shared_out
from keras_distill.methods import teaching
from keras_distill.methods.criterion_weights import CriterionWeights
from keras_distill.methods.method import Batch, Views
from keras_distill.methods.method_list import method_list
from keras_distill.models.student_view import StudentView
from keras_distill.models.tap import OUTPUT
from keras_distill.traced_once import build_optimizer


@keras.saving.register_keras_serializable(package="keras_distill")
class Distiller(keras.Model):
    """Trains a student with distillation methods, as any other Keras model.

    The loss is that of `compile` plus the terms of the methods. `compile`, `fit`,
    `evaluate`, `predict`, callbacks, mixed precision, `jit_compile`, sample weights
    and regularisers work as they do for the student alone, and each step runs the
    student once. What only training needs (branches, heads, weights of losses)
    belongs to the distiller; `distiller.student` stays the model that was given.

    Under `tf.distribute` the rows of all replicas are gathered before any loss is
    computed: similarities are those of the global batch, and N replicas make the
    update that one would, as far as the student's own layers allow it (batch
    normalisation has to be synchronised or frozen for that).

    Args:
        student: A built `keras.Model` from images to embeddings, or a detector. Methods
            that read inner layers need it functional or sequential.
        methods: List of `keras_distill.methods.Method` or of
            `keras.distillation.DistillationLoss`, or one of these. May be empty: then
            this is the way to train a loss that has weights of its own.
        teacher: A `keras.Model`, of any width, resolution and dtype. Called in
            inference mode, gets no gradient, is not changed and is not saved: call
            `set_teacher` after loading.
        feature_layer: Path of the layer of the student that methods take its
            features from; `"backbone/conv5_block3_out"` reaches into a nested model.
        **kwargs: See `keras.Model`.

    Call arguments:
        inputs: Images, or a dictionary: either of the student's own inputs; or with
            `"image"` for the student and, optionally, `"teacher_image"` (another
            view, for the teacher) and `"teacher_embedding"` (`(batch, dim)`, in
            place of a call of the teacher). Other keys are left alone.
        training: Boolean.

    `fit` takes as targets what the loss takes, or a dictionary that holds it under
    `"label"`; methods see the whole dictionary.

    A student that computes its loss itself, as detectors do, is compiled with what it
    needs for that, and the distiller without a loss: where the student's class defines
    `compute_loss`, that is called with the images, all targets and the student's
    outputs of the step. Its own metrics are logged. On several replicas such a student
    is refused.

    Logs hold `loss` (the total), `base_loss` (the loss of `compile` alone, in full, or
    the student's own) and each term of each method, without its weight.

    Raises:
        ValueError: If the student is not built; if a layer that a method reads does
            not exist (the existing ones are listed); if there is a teacher that no
            method learns from, or, when the first batch comes, none where one is
            needed; if teacher and student share weights.
        TypeError: If a method is neither a `Method` nor a `DistillationLoss`.

    Example:

    ```python
    student = keras_distill.models.embedder("conv4", (32, 32, 1), dim=32)
    distiller = keras_distill.Distiller(student, methods=[keras_distill.S2SD()])
    distiller.compile("adamw", loss=keras_distill.losses.MultiSimilarity())
    distiller.fit(batches, epochs=10)
    student.save("student.keras")
    ```
    """

    def __init__(
        self,
        student,
        methods=(),
        teacher=None,
        feature_layer="features",
        **kwargs,
    ):
        # The student casts its images, or does not, by its own policy.
        super().__init__(autocast=False, **kwargs)
        if not student.built:
            raise ValueError(
                "`student` must be built: call it once on a batch of images. "
                f"Received: student={student.name!r}, which has no weights yet"
            )
        self.student = student
        self.feature_layer = feature_layer
        self.methods = method_list(methods)
        for method in self.methods:
            method.feature_layer = feature_layer
            method.take_student(student)
        self._student_view = StudentView(
            student,
            [path for method in self.methods for path in method.student_layers],
            embedding=any(method.needs_embedding for method in self.methods),
        )
        self._teacher_view = None
        self.criterion_weights = CriterionWeights()
        self._base_tracker = keras.metrics.Mean(name="base_loss")
        self._term_trackers = {
            f"{method.name}_{term}": keras.metrics.Mean(name=f"{method.name}_{term}")
            for method in self.methods
            for term in method.term_names
        }
        if teacher is not None:  # First: what is built may depend on its width.
            self.set_teacher(teacher)
        self.build()

    @property
    def teacher(self):
        """The model that is learned from, or `None`."""
        return None if self._teacher_view is None else self._teacher_view.model

    def set_teacher(self, teacher):
        """Takes another teacher, or the first one after loading.

        A method, for Keras would take an assigned attribute for a layer to train.

        Args:
            teacher: See `Distiller`.

        Raises:
            ValueError: If no method learns from a teacher, if a method cannot use
                this one, or if it shares weights with the student.
        """
        self._teacher_view = teaching.take_teacher(teacher, self.student, self.methods)
        # What was traced has the last teacher in it.
        self.train_function = self.test_function = None

    def build(self, input_shape=None):
        """Creates the weights of the methods. The student has its own already."""
        shapes = self._student_view.shapes()
        for method in self.methods:
            if not method.built:
                method.build(shapes)
        shape = shapes[OUTPUT]
        self._dim = shape[-1] if isinstance(shape, tuple) else None
        self.built = True

    def call(self, inputs, training=None):
        images = fields.student_images(inputs, self.student)
        return self._student_view(images, training=training)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The loss of `compile`, the student's regularisers, and every term."""
        views = self._views(x, y, y_pred, training)
        rows = {method.name: method.rows(views) for method in self.methods}
        # Only what similarities need crosses replicas: rows, not feature maps.
        targets, outputs, sample_weight, embeddings, rows = replicas.gather(
            (y, y_pred, sample_weight, views.embeddings, rows)
        )
        if self._student_has_a_loss():
            labels = targets
            total = self._student_loss(x, targets, outputs, sample_weight, training)
        else:
            labels = fields.labels(targets, y_pred)
            for loss in self._takers_of_labels():
                labels = label_range.checked(labels, loss)
            total = self._compiled_loss(x, labels, outputs, sample_weight, training)
        weights = fields.embedding_weights(sample_weight, self.student)
        for method in self.methods:
            batch = Batch(labels, targets, embeddings, rows[method.name], training)
            for name, term in method.terms(batch).items():
                value = term.mean(weights)
                # A last batch of few rows counts as little as in the total's mean.
                self._term_trackers[f"{method.name}_{name}"].update_state(
                    value, sample_weight=ops.shape(embeddings)[0]
                )
                if term.weight is not None:
                    total += ops.cast(term.weight * value, "float32") / replicas.count()
        return total

    def _compiled_loss(self, x, labels, outputs, sample_weight, training):
        if self._compile_loss is None and not self.losses and self.methods:
            return ops.zeros(())
        replicas.refuse_scalars(self.loss, labels, outputs)
        total = super().compute_loss(x, labels, outputs, sample_weight, training)
        # A student in half precision whose layers add losses makes it half, too.
        total = ops.cast(total, "float32")
        self._track_base(total, outputs)
        return total

    def _student_has_a_loss(self):
        return self._compile_loss is None and own_loss.has_own_loss(self.student)

    def _student_loss(self, x, targets, outputs, sample_weight, training):
        """What the student computes itself, and what layers of methods add."""
        images = fields.student_images(x, self.student)
        base, added = own_loss.base_and_added(
            self.student, images, targets, outputs, sample_weight, training
        )
        self._base_tracker.update_state(base, sample_weight=_batch_size(outputs))
        others = own_loss.added_by_layers(self.methods)
        return self._base_share * base + added + others

    @property
    def metrics(self):
        """With those that a student keeps which computes its loss itself."""
        found = super().metrics
        if hasattr(self, "student") and self._student_has_a_loss():
            return [*found, *(m for m in self.student.metrics if m.name != "loss")]
        return found

    def views(self, inputs, targets=None, training=False, teacher=True):
        """What student and teacher make of a batch: what methods read.

        Args:
            inputs: See `Distiller`.
            targets: What the data set yields beside them.
            training: Boolean.
            teacher: Whether to ask the teacher as well.

        Returns:
            `methods.Views`.
        """
        output = self(inputs, training=training)
        return self._views(inputs, targets, output, training, teacher)

    def _views(self, x, y, y_pred, training, ask_teacher=True):
        """Student and teacher on this replica's images."""
        images = fields.student_images(x, self.student)
        embeddings, layers = self._student_view.layers(y_pred, images)
        teacher = None, {}
        if ask_teacher:
            teacher = teaching.ask(self._teacher_view, self.methods, x, images)
        return Views(embeddings, layers, *teacher, training, images, y)

    def _track_base(self, total, outputs):
        if self._compile_loss is None:
            return
        # Keras has divided both summands by the number of replicas.
        added = own_loss.added_by_layers([self])
        base = (total * replicas.count() - added) / self._base_share
        self._base_tracker.update_state(base, sample_weight=_batch_size(outputs))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(
            x, fields.labels(y, y_pred), y_pred, sample_weight
        )

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, **kwargs):
        """As `keras.Model.compile`.

        Losses with weights of their own are built and taken in charge: trained,
        saved, and kept out of weight decay, as are the methods' weights.
        `loss_weights` apply to `loss`; what a method takes of it (S2SD halves it)
        comes on top.

        Raises:
            ValueError: If a method cannot work with `loss`; or, under a strategy of
                several replicas, if a loss is not a mean over the batch, or is computed
                by the student itself.
        """
        replicas.refuse_sums(self.distribute_strategy, loss)
        if loss is None:
            own_loss.refuse_replicas(self.distribute_strategy, self.student)
        for method in self.methods:
            method.take_criterion(loss)
        criteria = keras.tree.flatten(loss)
        dims = [output.shape[-1] for output in getattr(self.student, "outputs", ())]
        if len(dims) != len(criteria):
            dims = [self._dim] * len(criteria)
        self.criterion_weights.replace(criteria, dims)
        self._given_loss_weights = loss_weights
        self._base_share = math.prod(method.base_weight for method in self.methods)
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=shared_out(loss_weights, loss, self._base_share),
            **kwargs,
        )
        owners = [*self.methods, self.criterion_weights]
        weight_decay.spare(
            self.optimizer, [v for owner in owners for v in owner.trainable_variables]
        )

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        **kwargs,
    ):
        """As `keras.Model.fit`, with the callbacks that the methods cannot do without.

        They go before those given here, so that a callback that saves finds their
        work done. One of the same class given here, for the same method, takes the
        place of theirs.
        """
        given = needed_first.as_list(callbacks)
        theirs = [callback for m in self.methods for callback in m.schedules()]
        needed = needed_first.missing(theirs, given)
        for callback in [*needed, *given]:
            # Some callbacks look through the training data before an epoch.
            if hasattr(callback, "will_train_on"):
                callback.will_train_on(x, y)
        callbacks = needed_first.put_first(needed, callbacks, self)
        for loss in self._takers_of_labels():
            label_range.refuse(y, loss)
        if isinstance(x, tf.data.Dataset):
            # Keras 3.15 warns of its own default, shuffle=True, with any data set.
            kwargs.setdefault("shuffle", False)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def _takers_of_labels(self):
        """What was given to `compile`, and losses that methods bring."""
        return [self.loss, *(loss for m in self.methods for loss in m.criteria)]

    def make_train_function(self, force=False):
        build_optimizer(self)
        return super().make_train_function(force)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["loss_weights"] = self._given_loss_weights
        return config

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self):
        return {
            **super().get_config(),
            "student": keras.saving.serialize_keras_object(self.student),
            "methods": [keras.saving.serialize_keras_object(m) for m in self.methods],
            "feature_layer": self.feature_layer,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        restore = keras.saving.deserialize_keras_object
        config["student"] = restore(config["student"], custom_objects)
        config["methods"] = [restore(m, custom_objects) for m in config["methods"]]
        return cls(**config)


def _batch_size(outputs):
    return ops.shape(keras.tree.flatten(outputs)[0])[0]
