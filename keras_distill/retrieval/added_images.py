"""What is added to the catalogue of a bundle."""

import pathlib

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.embedder import Embedder
from keras_distill.device.open_bundle import open_bundle
from keras_distill.retrieval.catalogue_part import GOLDEN_IMAGES
from keras_distill.retrieval.spread import spread
from keras_distill.retrieval.thumbnails import thumbnails


class AddedImages:
    """Images of a set, embedded, or what another bundle knows of its own.

    Attributes:
        ids, classes: Lists of strings.
        rows: float32 array `(N, dim)`, their embeddings.
        image_ids, images, embeddings: Of a few of them, to be golden images.
        synonyms: As in `ids.json`.
        thumbnails: Iterable of N pictures; `None` where another bundle has none.
    """

    def __init__(self, ids, classes, rows, golden, synonyms, thumbnails):
        self.ids, self.classes, self.rows = list(ids), list(classes), rows
        self.image_ids, self.images, self.embeddings = golden
        self.synonyms, self.thumbnails = dict(synonyms), thumbnails

    @classmethod
    def of(cls, opened, add, report):
        """What is to be added to a bundle.

        Args:
            opened: The `keras_distill.device.Bundle`.
            add, report: `add` and `progress` of `update_bundle`.
        """
        nothing = np.zeros((0, *opened.image_shape), np.uint8)
        no_rows = np.zeros((0, opened.dim), np.float32)
        if add is None:
            return cls([], [], no_rows, ([], nothing, no_rows), {}, ())
        if isinstance(add, str | pathlib.Path):
            return cls._of_bundle(opened, open_bundle(add))
        if tuple(add.image_shape) != opened.image_shape:
            raise ValueError(
                f"Images to add must have the bundle's shape, {opened.image_shape}. "
                f"Received: {add.image_shape}"
            )
        model = (opened.path / opened.manifest["catalogue"]["embedded_by"]).read_bytes()
        embedder, rows = Embedder(model), [no_rows]
        for start in range(0, len(add), 256):
            some = range(start, min(start + 256, len(add)))
            rows.append(embedder.embed(add.read(some)))
            report("Embedding", some.stop, len(add))
        rows = np.concatenate(rows)
        chosen = spread(len(add), GOLDEN_IMAGES)
        classes = [add.class_names[label] for label in add.labels]
        golden = [add.ids[i] for i in chosen], add.read(chosen), rows[chosen]
        synonyms = add.synonyms or {}
        return cls(add.ids, classes, rows, golden, synonyms, thumbnails(add))

    @classmethod
    def _of_bundle(cls, opened, other):
        ours, theirs = (b.manifest["catalogue"]["embedder"] for b in (opened, other))
        if ours != theirs:
            raise BundleError(
                "Only a bundle of the same student can be added: embeddings of another "
                f"network mean nothing to this one. Received: {other.path} by "
                f"{theirs[:12]}, {opened.path} by {ours[:12]}"
            )
        with np.load(other.path / other.manifest["golden"]["file"]) as file:
            golden = [file[key] for key in ("image_ids", "images", "embeddings")]
        pictures = None
        if "thumbnails" in other.manifest:
            pictures = (other.thumbnail(row) for row in range(len(other)))
        return cls(
            other.ids, other.classes, other.rows, golden, other.synonyms, pictures
        )
