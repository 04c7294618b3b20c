"""What each step from Keras to a phone costs a detector, and how much it may."""

import math

from keras_distill.tflite.verification_error import VerificationError


class DetectionBudget:
    """Measures detections of the same images, and refuses those that are too bad.

    At each stage (a file, a runtime) the average precision is measured as in training,
    see `metrics.detection_report`. The first stage is Keras.

    Args:
        boxes: `data.BoxSet`, images with what there is to find.
        found: What the Keras detector finds there, see `metrics.detect`.
        max_drop: By how many points of AP, of 100, any stage may lie below Keras; 0 to
            100. Defaults to `1.0`.

    Attributes:
        stages: List of dictionaries, what was measured of each stage: `name`, `ap`,
            `ap50`, `classes` (the `ap` of each), `drop` (points of AP below Keras) and
            `milliseconds` (of one image, `None` where nobody has measured).

    Raises:
        ValueError: If there is no box to find, or `max_drop` is out of its range.

    Example:

    ```python
    budget = DetectionBudget(evaluation, metrics.detect(detector, evaluation))
    on_device = device.Detector(model, detector.anchors)
    budget.add("int8", on_device.detect_all(evaluation.images.read(range(72))))
    ```
    """

    def __init__(self, boxes, found, max_drop=1.0):
        check_ap_drop(max_drop)
        self.max_drop, self._boxes = max_drop, boxes
        self.stages = []
        first = self.add("Keras", found)
        if math.isnan(first["ap"]):
            raise ValueError(
                "There must be boxes to find in the images that are measured. "
                f"Received: {boxes}"
            )

    def add(self, name, found, milliseconds=None):
        """Measures a stage, and refuses it if it costs too much.

        Args:
            name: String, for tables and errors.
            found: Dictionary of `"boxes"`, `"scores"` and `"labels"`, see
                `metrics.detect`.
            milliseconds: How long one image takes.

        Returns:
            Dictionary, what is added to `stages`.

        Raises:
            VerificationError: Its `check` is `"precision"`.
            ValueError: If `found` is of other images.
        """
        from keras_distill.metrics.detection_report import detection_report

        boxes = self._boxes
        report = detection_report(
            boxes.boxes,
            boxes.labels,
            found,
            boxes.class_names,
            boxes.ignored,
            boxes.scales,
        )
        first = self.stages[0] if self.stages else report
        stage = {
            "name": name,
            "ap": report["ap"],
            "ap50": report["ap50"],
            # JSON has no NaN, which a class without boxes has.
            "classes": {
                label: None if math.isnan(values["ap"]) else values["ap"]
                for label, values in report["classes"].items()
            },
            "drop": 100 * (first["ap"] - report["ap"]),
            "milliseconds": milliseconds,
        }
        if stage["drop"] > self.max_drop:
            raise VerificationError(
                f"The AP may drop by at most {self.max_drop:.2f} points below Keras, "
                f"{100 * first['ap']:.2f}. Received: {100 * report['ap']:.2f} at the "
                f"stage {name!r}, {stage['drop']:.2f} points below",
                "precision",
            )
        self.stages.append(stage)
        return stage

    def section(self):
        """Dictionary for a manifest: `images`, `boxes`, the budget, and `stages`."""
        return {
            "images": len(self._boxes),
            "boxes": self._boxes.box_count,
            "max_drop": self.max_drop,
            "stages": self.stages,
        }


def check_ap_drop(max_drop):
    """Raises ValueError if `max_drop` is no number of points from 0 to 100."""
    if not 0 <= max_drop <= 100:
        raise ValueError(
            f"`max_drop` must be points of AP, 0 to 100. Received: max_drop={max_drop}"
        )
