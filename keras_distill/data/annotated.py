"""Annotated image files of any format become a `BoxSet`."""

import collections
import concurrent.futures
import dataclasses
import os
import typing
import warnings

import numpy as np

from keras_distill.data.box_set import BoxSet, Dropped
from keras_distill.data.image_set import ImageSet, digest, opened
from keras_distill.data.progress import progress
from keras_distill.device.read_image import read_letterboxed


@dataclasses.dataclass(frozen=True)
class Annotated:
    """An image file, and the boxes that a data set has of it.

    Attributes:
        id: String that names the image.
        file: Path of the image, or the bytes of the file; None if it is known to be
            unreadable, when `fault` says why.
        boxes: `(n, 4)`, x1 y1 x2 y2 in pixels of the file, or in parts of its sides
            where `relative` is true. Anything: what has no area is dropped later.
        labels: n class names.
        ignored: n booleans, see `BoxSet`.
        size: `(width, height)` that the annotation gives, None if it gives none.
        relative: See `boxes`.
        fault: String, why the annotation itself cannot be used.
    """

    id: str
    file: typing.Any
    boxes: typing.Any = ()
    labels: tuple = ()
    ignored: tuple = ()
    size: tuple | None = None
    relative: bool = False
    fault: str | None = None


class Annotations(typing.NamedTuple):
    """All that a data set says of its images; none of them has been read.

    Attributes:
        items: List of `Annotated`.
        splits: Dictionary from the name of a split to the ids of its images; an image
            may be in several.
        class_names: List of strings.
    """

    items: list
    splits: dict
    class_names: list


def boxes_of_files(name, annotated, class_names, image_size, memory_limit):
    """A `BoxSet` of the annotated files that can be read, in their order.

    Every file is decoded once, in parallel, before anything else happens. Left out,
    named and counted by one warning each: images that cannot be read, are missing or
    have another size than their annotation says; and boxes without area, with numbers
    that are not finite, or outside their image. Boxes that leave the image are cut off
    at its edge.

    Args:
        name: Name of the set.
        annotated: Sequence of `Annotated`.
        class_names: Strings; a label is the place of a box's class among them.
        image_size: `(height, width)` of the images of the set.
        memory_limit: Bytes of decoded images to keep, see `image_folder`.

    Returns:
        A `BoxSet` with colour images.

    Raises:
        ValueError: If no image can be read, or a box has an unknown class.
    """
    number = {class_name: label for label, class_name in enumerate(class_names)}
    unknown = {one for item in annotated for one in item.labels if one not in number}
    if unknown:
        raise ValueError(
            f"The classes of the boxes of {name!r} must be among "
            f"{', '.join(class_names)}. Received: classes={sorted(unknown)[:5]}"
        )
    shape = (*image_size, 3)
    keep = len(annotated) * np.prod(shape, dtype=np.int64) <= memory_limit
    images = np.empty((len(annotated), *shape), np.uint8) if keep else None
    digests = np.zeros((len(annotated), 16), np.uint8)
    scales, sizes = np.ones((len(annotated), 2)), [None] * len(annotated)
    reasons = {}

    def check(row):
        item = annotated[row]
        try:
            if item.fault is not None:
                raise ValueError(item.fault)
            image, scale, size = read_letterboxed(opened(item.file), shape)
            if item.size not in (None, size):
                raise ValueError(f"is {size}, and {item.size} by its annotation")
        except (ValueError, OSError) as error:
            reasons[row] = reason(error)
            return
        digests[row], scales[row], sizes[row] = digest(image), scale, size
        if keep:
            images[row] = image

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = pool.map(check, range(len(annotated)))
        for _ in progress(rows, len(annotated), f"reading {name}"):
            pass
    good = [row for row in range(len(annotated)) if row not in reasons]
    skipped = [(annotated[row].id, reasons[row]) for row in sorted(reasons)]
    if not good:
        raise ValueError(
            f"{name!r} must have an image that can be read. Received: {_some(skipped)}"
        )
    boxes, labels, ignored, dropped = [], [], [], []
    for row in good:
        item = annotated[row]
        some, fits = _fitted(item, sizes[row], scales[row], shape, dropped)
        boxes.append(some[fits])
        labels.append([number[item.labels[place]] for place in np.flatnonzero(fits)])
        ignored.append(np.reshape(item.ignored or [False] * len(fits), -1)[fits])
    _say_what_is_left_out(name, len(annotated), skipped, dropped)
    stored = images[good] if keep else [annotated[row].file for row in good]
    image_set = ImageSet(
        stored,
        np.zeros(len(good), np.int32),
        ["image"],
        [annotated[row].id for row in good],
        name,
        shape,
        skipped,
        digests[good],
        _pixels,
    )
    return BoxSet(image_set, boxes, labels, class_names, ignored, scales[good], dropped)


def reason(error):
    """What an error says, without what was received."""
    return str(error).partition(" Received: ")[0] or type(error).__name__


def _pixels(file, image_shape):
    return read_letterboxed(file, image_shape)[0]


def _fitted(item, size, scale, shape, dropped):
    """The boxes of one image in pixels as it is read, and which of them are left."""
    given = np.reshape(np.array(item.boxes, np.float64), (-1, 4))
    pixels = given * np.tile(size, 2) if item.relative else given
    cut = np.clip(pixels, 0, np.tile(size, 2)) * np.tile(scale, 2)
    edge = np.array([shape[1], shape[0]] * 2, np.float32)
    boxes = np.minimum(cut.astype(np.float32), edge)
    finite = np.isfinite(pixels).all(1)
    area = finite & (pixels[:, :2] < pixels[:, 2:]).all(1)
    # In float32, where what is thinner than a millionth of the image has no area.
    fits = area & (boxes[:, :2] < boxes[:, 2:]).all(1)
    for place in np.flatnonzero(~fits):
        why = "outside the image" if area[place] else "no area"
        why = why if finite[place] else "not finite"
        box = tuple(float(number) for number in pixels[place])
        dropped.append(Dropped(item.id, box, why))
    return boxes, fits


def _say_what_is_left_out(name, count, skipped, dropped):
    if skipped:
        warnings.warn(
            f"{len(skipped)} of {count} images of {name!r} cannot be used and are left "
            f"out: {_some(skipped)}",
            stacklevel=5,
        )
    if dropped:
        kinds = collections.Counter(one.reason for one in dropped)
        kinds = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
        some = _some([(one.id, one.box) for one in dropped])
        warnings.warn(
            f"{len(dropped)} boxes of {name!r} are left out ({kinds}): {some}",
            stacklevel=5,
        )


def _some(pairs):
    text = "; ".join(f"{name}: {what}" for name, what in pairs[:5])
    return text + (f"; and {len(pairs) - 5} more" if len(pairs) > 5 else "")
