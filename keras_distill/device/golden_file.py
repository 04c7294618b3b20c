"""Reads the golden file of a bundle, whatever has become of it."""

import numpy as np

from keras_distill.device.bundle_error import BundleError


def read_golden(bundle, check_shapes, holds):
    """The arrays of the golden file, of shapes that fit the bundle.

    Args:
        bundle: What has a `path` and a `manifest`.
        check_shapes: Function of arrays and bundle; raises anything if they do not fit.
        holds: String, what the file must hold, for the message.

    Returns:
        Dictionary of arrays.

    Raises:
        BundleError: If the file is damaged or does not fit.
    """
    path = bundle.path / bundle.manifest["golden"]["file"]
    # zipfile, zlib and struct raise what they like of a damaged archive.
    try:
        # numpy leaves a file open that it cannot read.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            golden = dict(file)
        check_shapes(golden, bundle)
    except MemoryError:
        raise
    except Exception as error:
        raise BundleError(
            f"The golden file must hold {holds}. "
            f"Received: {path} ({type(error).__name__}: {error})"
        ) from error
    return golden
