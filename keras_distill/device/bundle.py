"""An exported embedder and its catalogue, opened where there is no TensorFlow."""

import pathlib

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.bundle_searches import BundleSearches
from keras_distill.device.bundle_thresholds import BundleThresholds
from keras_distill.device.catalogue import check_embedder, read_catalogue
from keras_distill.device.embedder import Embedder
from keras_distill.device.golden import check_golden
from keras_distill.device.group import Group, GroupNeighbours
from keras_distill.device.group_weights import group_weights
from keras_distill.device.manifest import read_manifest
from keras_distill.device.manifest_fields import check_fields, check_kind
from keras_distill.device.scorer import Scorer
from keras_distill.device.thumbnails import Thumbnails


class Bundle:
    """An embedder and a catalogue to search; made by `open_bundle`.

    Args:
        path, runtime, model, threads: See `open_bundle`.

    Attributes:
        path: `pathlib.Path` of the folder.
        manifest: Its manifest, a dictionary.
        image_shape: `(height, width, channels)` of the images it takes.
        dim: Width of the embedding.
        runtime: The interpreter in use, with `name` and `version`.
        rows: float32 array `(N, dim)`, the embeddings of the catalogue.
        ids: Tuple of N strings that name the images of the catalogue.
        classes: Tuple of N strings, the name of the class of each.
        synonyms: Dictionary from the name of a class to a tuple of other names for
            what it shows, where the catalogue has them.
    """

    def __init__(self, path, runtime=None, model="int8", threads=1):
        self.path = pathlib.Path(path)
        self.manifest = read_manifest(self.path)
        check_kind(self.manifest, self.path, "embedder")
        check_fields(self.manifest, self.path)
        models, catalogue = self.manifest["models"], self.manifest["catalogue"]
        if model not in models:
            raise ValueError(
                f"`model` must be one of {', '.join(map(repr, models))}. "
                f"Received: model={model!r}"
            )
        check_embedder(self.manifest, self.path)
        self._embedder = Embedder(
            (self.path / models[model]["file"]).read_bytes(), runtime, threads
        )
        self.image_shape, self.dim = self._embedder.image_shape, self._embedder.dim
        self.runtime = self._embedder.runtime
        self.rows, self.ids, self.classes, self.synonyms = read_catalogue(
            self.path, catalogue, self.dim
        )
        self._searches = BundleSearches(
            self.path, self.manifest, self.embed, model, runtime, threads
        )
        self._thresholds = BundleThresholds(self.path, self.manifest, model)
        self._thumbnails = None
        self._scorer = None
        if "group" in self.manifest:
            file = self.path / self.manifest["group"]["models"][model]["file"]
            self._scorer = Scorer(file.read_bytes(), runtime, threads)
            if self._scorer.image_shape != self.image_shape:
                raise BundleError(
                    f"Both networks must take images of {self.image_shape}. "
                    f"Received: {self._scorer.image_shape} by {file}"
                )

    def __len__(self):
        """How many images the catalogue has."""
        return len(self.ids)

    def embed(self, images):
        """Embeds images: see `keras_distill.device.Embedder.embed`."""
        return self._embedder.embed(images)

    def search(self, queries, k=5, searcher="auto"):
        """The `k` images of the catalogue that are nearest to each query.

        Args:
            queries: uint8 images `(Q, height, width, channels)`, or float32
                embeddings `(Q, dim)` as `embed` gives them.
            k: Integer from 1 to the size of the catalogue. Defaults to `5`.
            searcher: `"tflite"`, the bundle's own search file, which embeds images
                and searches at once; `"numpy"`, exact; `"scann"`, the index of a
                bundle that has one, read by numpy where ScaNN is not installed; or
                `"auto"`. That is the search file for images, where it gives `k`
                neighbours and has the network in use (the int8 one) inside; for
                embeddings and more neighbours it is the index where that is quicker
                (it is a tree), else numpy. Defaults to `"auto"`.

        Returns:
            `ids`, a list of Q lists of `k` strings, nearest first, and `scores
            (Q, k)` float32, their cosines.

        Raises:
            ValueError: If an argument is not as described, or the bundle has no
                ScaNN index, or no search file that can answer.
            TypeError: If `queries` is neither uint8 nor float.
        """
        scores, indices = self.nearest(queries, k, searcher)
        return [[self.ids[i] for i in row] for row in indices], scores

    def nearest(self, queries, k=5, searcher="auto"):
        """`search` that returns `scores (Q, k)` and `indices (Q, k)` into `ids`.

        Args:
            queries, k, searcher: See `search`.
        """
        return self._searches.nearest(self.rows, queries, k, searcher)

    def match(self, scores):
        """Which neighbours score high enough to be of the query's class.

        Args:
            scores: Float array of any shape, scores of `search`.

        Returns:
            bool array of that shape: true where pairs of different classes reach that
            score no more often than the bundle's `false_match_rate`.

        Raises:
            ValueError: If the bundle has no thresholds for the network in use.
        """
        return self._thresholds.match(scores)

    def no_match(self, scores):
        """Which queries show nothing that is in the catalogue.

        Args:
            scores: Float array `(Q, k)`, scores of `search`, the best first.

        Returns:
            bool array `(Q,)`: true where the best score is below what queries of
            classes outside the catalogue reach at the bundle's `false_match_rate`.

        Raises:
            ValueError: If `scores` has another rank, or as `match`.
        """
        return self._thresholds.no_match(scores)

    def has_thresholds(self):
        """Whether `match` and `no_match` can answer, for the network in use."""
        return bool(self._thresholds)

    def known_accepted(self):
        """The share of queries of the catalogue that `no_match` lets pass.

        A float in [0, 1], measured at the export. Where it is small, things are so
        alike that no score tells what is not among them, and `no_match` says little.

        Raises:
            ValueError: If the bundle has no thresholds for the network in use.
        """
        return self._thresholds.known_accepted()

    def search_file(self):
        """The `keras_distill.device.Searcher` of the bundle's search file.

        Raises:
            ValueError: If the bundle has none.
        """
        return self._searches.file()

    def thumbnail(self, row):
        """A small picture of an image of the catalogue, for those who look at results.

        Args:
            row: Integer, an index into `ids`, as `nearest` gives them.

        Returns:
            uint8 array `(height, width)`, or `(height, width, 3)` of a catalogue in
            colour. Needs Pillow.

        Raises:
            ValueError: If the bundle has none: it was written without, or updated.
            IndexError: If there is no such row.
            BundleError: If they are not as the manifest says.
        """
        if "thumbnails" not in self.manifest:
            raise ValueError(
                "This bundle has no thumbnails: it was written without, or updated. "
                f"Received: {self.path}"
            )
        if self._thumbnails is None:
            self._thumbnails = Thumbnails(self.path, self.manifest, len(self))
        return self._thumbnails[row]

    def score(self, images):
        """What each image is worth to a group, by the bundle's score network.

        Args:
            images: See `embed`.

        Returns:
            float32 array `(count,)` in [0, 1]; a scalar for one image.

        Raises:
            ValueError: If the bundle has no score network, or as `embed`.
            TypeError: As `embed`.
        """
        self.check_scorer()
        return self._scorer.score(images)

    def check_scorer(self):
        """Raises ValueError if the bundle has no score network."""
        if self._scorer is None:
            raise ValueError(
                "This bundle has no score network, it was written without a scorer: "
                f"search with each image by itself. Received: {self.path}"
            )

    def embed_group(self, images, keep=None):
        """Embeds several images of one thing as one query.

        All are scored, and their scores become weights: see
        `keras_distill.device.group_weights`. Only images that weigh something are
        embedded; the weighted mean of their embeddings is brought to length one.

        Args:
            images: uint8 array `(count, height, width, channels)`, at least one.
            keep: Positive integer, the most images to embed: the best by score.
                `None` for what the manifest says, which may be all; to embed all
                whatever it says, their number. Defaults to `None`.

        Returns:
            A `Group`: `embedding (dim,)`, `scores (count,)`, `weights (count,)` and
            `embedded`, the positions of the images that were embedded.

        Raises:
            ValueError: If the bundle has no score network, there is no image, or an
                argument is not as described.
            TypeError: If `images` is not uint8.
        """
        images = np.asarray(images)
        if images.ndim != 4 or not len(images):
            raise ValueError(
                "`images` must be a group of at least one image (count, height, "
                f"width, channels). Received: images.shape={images.shape}"
            )
        scores = self.score(images)
        options = self.manifest["group"]
        weights = group_weights(
            scores,
            options["rescale_above"],
            options["threshold"],
            options["keep"] if keep is None else keep,
        )
        embedded = np.flatnonzero(weights)
        pooled = weights[embedded] @ self.embed(images[embedded])
        # Opposite embeddings may cancel out: then there is no direction to give.
        embedding = pooled / max(np.linalg.norm(pooled), np.float32(1e-12))
        return Group(embedding, scores, weights, tuple(embedded.tolist()))

    def search_group(self, images, k=5, keep=None, searcher="auto"):
        """The `k` images of the catalogue that are nearest to a group as one query.

        Args:
            images, keep: See `embed_group`.
            k, searcher: See `search`.

        Returns:
            A `GroupNeighbours`: `ids`, a list of `k` strings, nearest first, their
            cosines `scores (k,)`, and the `group` itself.

        Raises:
            ValueError, TypeError, ImportError: As `embed_group` and `search`.
        """
        group = self.embed_group(images, keep)
        ids, scores = self.search(group.embedding[None], k, searcher)
        return GroupNeighbours(ids[0], scores[0], group)

    def check_golden(
        self,
        min_cosine=0.98,
        max_score_difference=0.05,
        max_image_score_difference=0.15,
    ):
        """Embeds and searches the golden images, and compares with the export.

        Kernels of different runtimes round differently: int8 embeddings differ by
        up to 0.02 a component, and neighbours of nearly equal score change places.
        So cosines and scores are compared, and ids only counted. Where the bundle
        has a score network, the images are scored and a golden group is embedded
        too.

        Args:
            min_cosine: Least cosine of an embedding, and of that of the group, to
                the one stored. Defaults to `0.98`.
            max_score_difference: Largest difference between the score of a stored
                neighbour and its score here. Defaults to `0.05`.
            max_image_score_difference: Largest difference between the score that an
                image was given and the one it is given here. Defaults to `0.15`.

        Returns:
            Dictionary: `runtime`, `runtime_version`, `images`, `k`, `cosine_mean`,
            `cosine_min`, `score_difference` (the largest), `top_1_same` and
            `overlap_at_k` (shares of the neighbours that are the same). With a search
            file also `search_cosine_min`, `search_score_difference` (to the exact
            scores of its embedding), `search_top_1_same` and `search_overlap_at_k`.
            With a score network also `image_score_difference` (the largest),
            `group_images` and `group_embedded` (how many), `group_weight_difference`
            (the largest, of the weights of the stored scores) and `group_cosine`.

        Raises:
            BundleError: If a figure is beyond its limit.
        """
        return check_golden(
            self, min_cosine, max_score_difference, max_image_score_difference
        )
