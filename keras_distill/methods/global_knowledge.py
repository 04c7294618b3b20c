"""Tell the student where instances lie among prototypes that both models know.

Tang et al., "Distilling Object Detectors with Global Knowledge", ECCV 2022,
https://arxiv.org/abs/2210.09022.
"""

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.callbacks.prototype_refresh import PrototypeRefresh
from keras_distill.methods import level_losses
from keras_distill.methods.instance_logits import InstanceLogits, soft_label_sums
from keras_distill.methods.instance_maps import InstanceMaps
from keras_distill.methods.instances import instance_levels
from keras_distill.methods.instances import pool_instances as pool_instances
from keras_distill.methods.kept_state import add_state
from keras_distill.methods.method import Method, Term
from keras_distill.methods.prototype_bank import PrototypeBank
from keras_distill.methods.prototypes import select_prototypes as select_prototypes
from keras_distill.methods.pyramid import adapter, refuse_even
from keras_distill.methods.robust_distillation import mean_shares


@keras.saving.register_keras_serializable(package="keras_distill")
class GlobalKnowledge(Method):
    """Distils detectors, and classifiers and embedders, with common prototypes.

    A few real instances of each class are prototypes: the same ones in the teacher's
    feature space and in the student's, `select_prototypes`. Of every instance the
    student learns how near it is to them, in place of its features themselves; and
    where the two models disagree on that, they are trusted less:

        global_weight * attenuation * global_loss            summed over levels
      + foreground_weight * attenuation * foreground         local_losses, of the maps
      + background_weight * attenuation * background           behind an adapter
      + soft_weight * soft_label_loss                        not attenuated

    each with the weights of `discrepancy_weights`, a mean over the instances of the
    batch: see `methods.robust_distillation`. What the student is compared by, beside
    what trains it already, comes from the same forward pass; the adapters (a
    convolution a level, linear) stay behind.

    `callbacks.PrototypeRefresh`, which `fit` adds, looks through the data before each
    epoch, chooses the prototypes, and lowers `attenuation`, which is `1 - epoch /
    epochs`. **Start from a trained student**: the places of instances among prototypes
    mean nothing in a random space. In the paper the student is a finished detector and
    trains for as long again, so compare with one that does so without a teacher; or
    let the first epochs be without, by `start_epoch`. Outside `fit` and its callbacks
    nothing is chosen and every term is 0.

    Prototypes are seen in inference mode, the instances of a step in training mode:
    batch normalisation shows them differently. The authors freeze its averages; that is
    `models.frozen_statistics(student)`, before there is a `Distiller`.

    With `instances="boxes"` both models put out feature pyramids and the data set
    yields a dictionary of targets with `"boxes"` `(batch, M, 4)`, x1 y1 x2 y2 in pixels
    of the student's input, and `"labels"` `(batch, M)`, negative in padding; a boolean
    `"mask"` `(batch, M)` may leave out more. Boxes are cut off at the edges; one
    without area is no instance. With `instances="images"` the image is the instance:
    labels are the integers that the data set yields (under `"label"` if there are
    several fields), one row an image stands for a level, the foreground is the weighted
    mean square error behind a linear adapter, and there is no background.

    The released code never computes the global loss as it is configured (`use_pgm` in
    its configuration, `use_r2i` where the loss is): that is `global_weight=0` here.

    Args:
        num_classes: Integer >= 1.
        instances: `"boxes"` or `"images"`.
        student_layer: Path of the layer that gives the student's pyramid, a dictionary
            of maps; of a `keras_hub` RetinaNet that is the name of its backbone. For
            images of the layer that gives rows, `None` for the student's output.
        teacher_layer: The same for the teacher. Widths may differ; levels and grids may
            not.
        strides: Dictionary from level to pixels a cell. `None` where levels are called
            `"P3"`, ... Levels that it leaves out take no part.
        global_weight: Float >= 0. This and the next three leave their term out
            altogether where they are 0 at the start.
        foreground_weight: Float >= 0.
        background_weight: Float >= 0; `None` for 4, and for 0 with images.
        soft_weight: Float >= 0; needs `soft_labels`.
        soft_labels: `None` for no soft labels. Path of the layer of both models that
            gives class logits, or a pair of paths. Of a detector's, `(batch, A,
            classes)` with one row for each anchor, the student says by
            `matched_boxes(boxes, labels)`, integers `(batch, A)`, which box an anchor
            is to detect, -1 for none. `"classify"`: both have `classify(pyramid,
            boxes)`, which gives `(batch, M, classes)` for the boxes of the targets, as
            two-stage detectors do. `"output"`, with images: what the models put out.
        temperature: Float > 0, of the soft labels.
        prototypes: Integer >= 1, of a class and level.
        coupling: Float >= 0. This and the next two: see `select_prototypes`.
        bandwidth: Float > 0.
        quantile: Float in [0, 1), or `None`.
        min_side: Float >= 0, pixels: prototypes are of boxes wider and taller than
            this. The authors take 30, of images about 800 high.
        level_base: Float > 0, see `instance_levels`: 56 is for images of 800 pixels.
        adapter_size: Odd integer >= 1, side of the kernels of the adapters. The
            authors' 3 costs nine times as much as 1 and is, of a narrow student and a
            wide teacher, most of what a step costs beyond the two models. Adapters of
            images have 1.
        level_reduction: `"sum"` or `"mean"` of foreground and background over levels:
            the authors' one-stage and two-stage rule. The global loss is summed.
        weighted: Whether disagreement weighs at all. Without, and with `global_weight`
            0, no prototypes are needed and none are sought: plain imitation.
        clip_weights: Whether weights below 0 become 0.
        attenuate: Whether terms fade, as above.
        start_epoch: Integer >= 0, the first epoch of all this, counted from 0.
        teacher_dims: Dictionary from level to the teacher's channels (`{"image": dim}`
            of images); `None` to take it from the teacher.
        name: Defaults to `"global_knowledge"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_global`, `_foreground`, `_background`, `_soft_labels`: the losses
    without their weights and attenuation; `{name}_agreement`: the mean weight of the
    instances, as no part of the loss. Those that there are.

    Attributes:
        attenuation: Scalar variable, saved.
        active: Scalar variable, 1 once training is past `start_epoch`.
        refreshed: Scalar variable, 1 once prototypes have been chosen.

    Raises:
        ValueError: If an argument is out of its range or fits no other; if models and
            data do not give what is described above.
    """

    needs_teacher = True

    def __init__(
        self,
        num_classes,
        instances,
        student_layer=None,
        teacher_layer=None,
        strides=None,
        global_weight=5.0,
        foreground_weight=1.0,
        background_weight=None,
        soft_weight=1.0,
        soft_labels=None,
        temperature=2.0,
        prototypes=10,
        coupling=10.0,
        bandwidth=0.1,
        quantile=0.4,
        min_side=8.0,
        level_base=56.0,
        adapter_size=3,
        level_reduction="sum",
        weighted=True,
        clip_weights=False,
        attenuate=True,
        start_epoch=0,
        teacher_dims=None,
        name="global_knowledge",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        ranges.count(1, num_classes=num_classes, prototypes=prototypes)
        refuse_even(adapter_size=adapter_size)
        ranges.count(0, start_epoch=start_epoch)
        ranges.not_negative(coupling=coupling, min_side=min_side)
        ranges.positive(bandwidth=bandwidth, level_base=level_base)
        if level_reduction not in level_losses.REDUCTIONS:
            raise ValueError(
                f"`level_reduction` must be one of {level_losses.REDUCTIONS}. "
                f"Received: level_reduction={level_reduction!r}"
            )
        self.maps = InstanceMaps(
            num_classes, instances, student_layer, teacher_layer, strides, teacher_dims
        )
        self.logits = None
        if soft_labels is not None:
            pyramids = student_layer, teacher_layer
            self.logits = InstanceLogits(soft_labels, instances, pyramids)
        if background_weight is None:
            background_weight = 0.0 if instances == "images" else 4.0
        if instances == "images" and background_weight:
            raise ValueError(
                "An image that is an instance has no background. "
                f"Received: background_weight={background_weight}, instances='images'"
            )
        self.add_coefficient("global_weight", global_weight)
        self.add_coefficient("foreground_weight", foreground_weight)
        self.add_coefficient("background_weight", background_weight)
        self.add_coefficient("soft_weight", soft_weight)
        self.add_coefficient("temperature", temperature, ranges.positive)
        self.num_classes = int(num_classes)
        self.prototypes = int(prototypes)
        self.coupling, self.bandwidth = float(coupling), float(bandwidth)
        self.quantile = quantile
        self.min_side, self.level_base = float(min_side), float(level_base)
        self.adapter_size = int(adapter_size)
        self.level_reduction = level_reduction
        self.weighted, self.clip_weights = bool(weighted), bool(clip_weights)
        self.attenuate, self.start_epoch = bool(attenuate), int(start_epoch)
        self._local = bool(foreground_weight or background_weight)
        there = {
            "global": global_weight,
            "foreground": foreground_weight,
            "background": background_weight,
            "soft_labels": soft_weight if self.logits else 0.0,
        }
        self.term_names = tuple(term for term, weight in there.items() if weight)
        if not self.term_names:
            raise ValueError(
                "At least one weight must be above 0; that of soft labels alone "
                f"needs `soft_labels`. Received: {there}"
            )
        if self.needs_prototypes:
            self.term_names += ("agreement",)
        self.attenuation = add_state(self, "attenuation", initializer="ones")
        self.active = add_state(self, "active")
        self.refreshed = add_state(self, "refreshed")
        self.adapters = {}
        self.bank = None

    @property
    def needs_prototypes(self):
        """Whether there is anything that compares with prototypes."""
        return self.weighted or "global" in self.term_names

    @property
    def needs_embedding(self):
        rows = self.maps.kind == "images" and self.maps.student_layer is None
        return rows or (self.logits is not None and self.logits.source == "output")

    @property
    def student_layers(self):
        own = () if self.logits is None else self.logits.paths(0)
        return (*self.maps.student_layers, *own)

    @property
    def teacher_layers(self):
        own = () if self.logits is None else self.logits.paths(1)
        return (*self.maps.teacher_layers, *own)

    def take_student(self, student):
        if self.logits is not None:
            self.logits.take("student", student, self.name)

    def take_teacher(self, teacher, student):
        self.maps.take_teacher(teacher, student, self.name)
        if self.logits is not None:
            self.logits.take("teacher", teacher, self.name)

    def build(self, shapes):
        self.maps.build(shapes, self.name)
        ours, theirs = self.maps.student_dims, self.maps.teacher_dims
        size = 1 if self.maps.kind == "images" else self.adapter_size
        if self._local:
            self.adapters = {
                level: adapter(ours[level], theirs[level], size, f"adapter_{level}")
                for level in ours
            }
        if self.needs_prototypes:
            dims = {level: (ours[level], theirs[level]) for level in ours}
            self.bank = PrototypeBank(self.num_classes, self.prototypes, dims)
        self.built = True

    def rows(self, views):
        found = self.maps.read(views)
        total = ops.zeros_like(found.labels, "float32")
        own_weights, agreed, local = total + 1.0, total, []
        levels = self.maps.strides
        level_of = instance_levels(found.boxes, len(levels), self.level_base)
        for number, (level, stride) in enumerate(levels.items()):
            here = level_of == number
            weights = total * 0 + 1.0
            if self.needs_prototypes:
                values, weights = level_losses.placing(
                    found, level, stride, self.bank, self.weighted, self.clip_weights
                )
                total = total + values
                agreed = agreed + weights / len(levels)
                weights = weights if self.weighted else ops.ones_like(weights)
                own_weights = ops.where(here, weights, own_weights)
            if self._local:
                adapt = self.adapters[level]
                local.append(
                    level_losses.imitation(found, level, stride, adapt, weights, here)
                )
        present = ops.cast(found.present, "float32")
        rows = {
            "count": ops.sum(present, axis=1),
            "global": ops.sum(present * total, axis=1),
            "agreement": ops.sum(present * agreed, axis=1),
        }
        if local:
            rows["local"] = ops.stack(local, axis=1)  # (B, levels, 4)
        if "soft_labels" in self.term_names:
            logits = self.logits.read(views, *found[2:])
            rows["soft_labels"], rows["soft_count"] = soft_label_sums(
                logits, own_weights, self.temperature
            )
        return rows

    def terms(self, batch):
        rows, terms = batch.rows, {}
        fading = self.active * self.attenuation
        if "global" in self.term_names:
            values = mean_shares(rows["global"], rows["count"])
            terms["global"] = Term(values, self.global_weight * fading)
        if self._local:
            losses = level_losses.over_levels(rows["local"], self.level_reduction)
            for name, values in losses.items():
                weight = getattr(self, f"{name}_weight")
                terms[name] = Term(values, weight * fading)
        if "soft_labels" in self.term_names:
            values = mean_shares(rows["soft_labels"], rows["soft_count"])
            terms["soft_labels"] = Term(values, self.soft_weight * self.active)
        if "agreement" in self.term_names:
            values = mean_shares(rows["agreement"], rows["count"])
            terms["agreement"] = Term(values, None)
        return {name: terms[name] for name in self.term_names}

    def schedules(self):
        return [PrototypeRefresh(self)]

    def features(self, views):
        """Pooled features of the instances of a batch, by which prototypes are chosen.

        Args:
            views: `Views` in inference mode; with or without the teacher.

        Returns:
            Dictionary of `"labels"` `(B, M)`; `"present"`, booleans `(B, M)`: which are
            instances large enough; and `"student"` and, where it was asked,
            `"teacher"`: from level to `(B, M, C)`.
        """
        found = self.maps.read(views)
        present = found.present
        if self.maps.kind == "boxes":
            sides = found.boxes[..., 2:] - found.boxes[..., :2]
            large = ops.all(sides > self.min_side, axis=-1)
            present = ops.logical_and(present, large)
        features = {"labels": found.labels, "present": present}
        for side in ("student", "teacher"):
            maps = getattr(found, side)
            if maps is not None:
                features[side] = {
                    level: pool_instances(maps[level], found.boxes, stride)
                    for level, stride in self.maps.strides.items()
                }
        return features

    def take_prototypes(self, student, teacher, labels):
        """Chooses prototypes among instances, and trains with them from now on.

        Args:
            student: From level to `(N, Cs)`, features of the same N instances.
            teacher: From level to `(N, Ct)`.
            labels: Integers `(N,)`. A class that does not occur has no prototypes: its
                instances have weight 1 and are compared with those of the others.

        Raises:
            ValueError: If there are no instances at all, a label is no class, or a
                feature is not finite.
        """
        self.bank.choose(
            student, teacher, labels, self.coupling, self.bandwidth, self.quantile
        )
        self.refreshed.assign(1.0)

    def get_build_config(self):
        """`None`: how wide student and teacher are is told when they come."""
        return None

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "instances": self.maps.kind,
            "student_layer": self.maps.student_layer,
            "teacher_layer": self.maps.teacher_layer,
            "strides": self.maps.given_strides,
            "soft_labels": None if self.logits is None else self.logits.source,
            "prototypes": self.prototypes,
            "coupling": self.coupling,
            "bandwidth": self.bandwidth,
            "quantile": self.quantile,
            "min_side": self.min_side,
            "level_base": self.level_base,
            "adapter_size": self.adapter_size,
            "level_reduction": self.level_reduction,
            "weighted": self.weighted,
            "clip_weights": self.clip_weights,
            "attenuate": self.attenuate,
            "start_epoch": self.start_epoch,
            "teacher_dims": self.maps.teacher_dims,
        }
