"""The thresholds of an opened bundle: what is a match, what is in no catalogue."""

import numpy as np


class BundleThresholds:
    """Judges scores by what the export calibrated for one network.

    Args:
        path: `pathlib.Path` of the bundle.
        manifest: Its manifest, a dictionary.
        model: Which network embeds the queries.
    """

    def __init__(self, path, manifest, model):
        self._path, self._manifest, self._model = path, manifest, model

    def __bool__(self):
        """Whether there are any for this network."""
        return self._model in self._models()

    def match(self, scores):
        """See `keras_distill.device.Bundle.match`."""
        return np.asarray(scores) >= self._of("match")

    def no_match(self, scores):
        """See `keras_distill.device.Bundle.no_match`."""
        scores = np.asarray(scores)
        if scores.ndim != 2 or not scores.shape[1]:
            raise ValueError(
                "`scores` must have shape (queries, k), the best first. "
                f"Received: scores.shape={scores.shape}"
            )
        return scores[:, 0] < self._of("no_match")

    def known_accepted(self):
        """See `keras_distill.device.Bundle.known_accepted`."""
        return self._facts("no_match")["true_rate"]

    def _models(self):
        return (self._manifest.get("thresholds") or {}).get("models", {})

    def _of(self, name):
        return np.float32(self._facts(name)["threshold"])

    def _facts(self, name):
        if not self:
            reason = (self._manifest.get("thresholds") or {}).get(
                "refused", "it was written without"
            )
            raise ValueError(
                f"This bundle has no thresholds for its {self._model} network: "
                f"{reason}. Received: {self._path}"
            )
        return self._models()[self._model][name]
