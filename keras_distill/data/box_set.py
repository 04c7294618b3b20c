"""Images with boxes, in memory or still in their files, behind one interface."""

import hashlib
import typing

import numpy as np


class Dropped(typing.NamedTuple):
    """A box that a data set has and a `BoxSet` has not.

    Attributes:
        id: String, of the image.
        box: Tuple `(x1, y1, x2, y2)` as it was, in pixels of the file.
        reason: String.
    """

    id: str
    box: tuple
    reason: str


class BoxSet:
    """Images of one size with labelled boxes, in a fixed order.

    Boxes are `(x1, y1, x2, y2)` in pixels of the images as they are here: corners on
    a continuous axis, 0 the left or upper edge of the first pixel.

    Args:
        images: `ImageSet` of N images; its labels are not looked at.
        boxes: N arrays `(n, 4)`, with x1 < x2 and y1 < y2, within the image.
        labels: N arrays `(n,)` of integers in [0, len(class_names)).
        class_names: Strings, all different.
        ignored: N arrays `(n,)` of booleans: boxes that one neither learns nor is
            charged for (crowds of COCO, what is difficult in Pascal VOC). Defaults
            to none.
        scales: `(N, 2)`, by what x and y of the original file have been multiplied.
            Defaults to 1.
        dropped: Tuple of `Dropped`.

    Attributes:
        images, class_names, scales, dropped: As above.
        boxes, labels, ignored: Tuples of float32, int32 and bool arrays.
        ids, name, image_shape, skipped: Those of `images`; what is in `skipped`, as
            `(path, reason)`, could not be read.

    Raises:
        ValueError: If sizes do not agree, a box has no area or leaves the image, or a
            label is out of range.
    """

    def __init__(
        self,
        images,
        boxes,
        labels,
        class_names,
        ignored=None,
        scales=None,
        dropped=(),
    ):
        count = len(images)
        if ignored is None:
            ignored = [np.zeros(len(some), bool) for some in labels]
        if scales is None:
            scales = np.ones((count, 2))
        self.images = images
        self.boxes = tuple(np.reshape(b, (-1, 4)).astype(np.float32) for b in boxes)
        self.labels = tuple(np.reshape(some, -1).astype(np.int32) for some in labels)
        self.ignored = tuple(np.reshape(some, -1).astype(bool) for some in ignored)
        self.class_names = tuple(class_names)
        self.scales = np.reshape(scales, (-1, 2)).astype(np.float64)
        self.dropped = tuple(dropped)
        self._check()

    def __len__(self):
        return len(self.boxes)

    def __repr__(self):
        return (
            f"<BoxSet {self.name!r}: {len(self)} images of shape {self.image_shape} "
            f"with {self.box_count} boxes of {len(self.class_names)} classes>"
        )

    @property
    def name(self):
        """String, what the set is called."""
        return self.images.name

    @property
    def ids(self):
        """Tuple of strings that name the images."""
        return self.images.ids

    @property
    def image_shape(self):
        """`(height, width, channels)`."""
        return self.images.image_shape

    @property
    def skipped(self):
        """Tuple of `(path, reason)` of what could not be read."""
        return self.images.skipped

    @property
    def box_count(self):
        """Integer, how many boxes there are, ignored ones included."""
        return sum(map(len, self.boxes))

    @property
    def most_boxes(self):
        """Integer, the boxes of the image that has most of them to learn; at least 1.

        The `M` of batches: their boxes are padded to `(batch, M, 4)`.
        """
        return max([1, *(int((~some).sum()) for some in self.ignored)])

    def subset(self, indices):
        """The images at `indices`, in that order; class names stay.

        Args:
            indices: Integers `(M,)`, or a boolean mask `(N,)`.

        Returns:
            A `BoxSet`. `dropped` is of these images alone.
        """
        rows = np.arange(len(self))[np.asarray(indices)]
        images = self.images.subset(rows)
        kept = set(images.ids)
        return BoxSet(
            images,
            [self.boxes[row] for row in rows],
            [self.labels[row] for row in rows],
            self.class_names,
            [self.ignored[row] for row in rows],
            self.scales[rows],
            [one for one in self.dropped if one.id in kept],
        )

    def padded(self):
        """What there is to learn as arrays of one size.

        Returns:
            Dictionary of `"boxes"` `(N, most_boxes, 4)` float32, `"labels"` int32 and
            `"mask"` bool, both `(N, most_boxes)`. Padding has zeros, -1 and False.
        """
        shape = len(self), self.most_boxes
        boxes = np.zeros((*shape, 4), np.float32)
        labels = np.full(shape, -1, np.int32)
        for row, ignored in enumerate(self.ignored):
            count = int((~ignored).sum())
            boxes[row, :count] = self.boxes[row][~ignored]
            labels[row, :count] = self.labels[row][~ignored]
        return {"boxes": boxes, "labels": labels, "mask": labels >= 0}

    def fingerprint(self):
        """Hexadecimal digest of pixels, ids, class names, boxes and labels."""
        whole = hashlib.blake2b(digest_size=16)
        whole.update(self.images.fingerprint().encode())
        whole.update("\n".join(self.class_names).encode())
        for row in range(len(self)):
            whole.update(self.boxes[row].astype("<f4").tobytes())
            whole.update(self.labels[row].astype("<i4").tobytes())
            whole.update(self.ignored[row].tobytes())
        return whole.hexdigest()

    def _check(self):
        count = len(self.images)
        parts = self.boxes, self.labels, self.ignored, self.scales
        if any(len(part) != count for part in parts):
            raise ValueError(
                "Images, boxes, labels, `ignored` and scales must be as many. "
                f"Received: {count} images, lengths={[len(part) for part in parts]}"
            )
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError(
                "Class names must all be different. "
                f"Received: class_names={self.class_names[:5]}"
            )
        height, width = self.image_shape[:2]
        for row in range(count):
            boxes, labels = self.boxes[row], self.labels[row]
            if not len(boxes) == len(labels) == len(self.ignored[row]):
                raise ValueError(
                    "Each box must have a label. Received: image="
                    f"{self.ids[row]!r}, {len(boxes)} boxes, {len(labels)} labels"
                )
            fits = np.isfinite(boxes).all(1) & (boxes[:, :2] < boxes[:, 2:]).all(1)
            fits &= (boxes >= 0).all(1) & (boxes[:, 2:] <= (width, height)).all(1)
            if not fits.all():
                raise ValueError(
                    "Boxes must be (x1, y1, x2, y2) with an area, within the image "
                    f"of {width} x {height}. Received: image={self.ids[row]!r}, "
                    f"box={boxes[~fits][0].tolist()}"
                )
            known = (labels >= 0) & (labels < len(self.class_names))
            if not known.all():
                raise ValueError(
                    f"Labels must lie in [0, {len(self.class_names)}). Received: "
                    f"image={self.ids[row]!r}, label={labels[~known][0]}"
                )
