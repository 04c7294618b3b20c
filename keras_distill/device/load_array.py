"""Reads a numpy file, whatever has become of it."""

import numpy as np


def load_array(path):
    """Reads the array of a `.npy` file.

    numpy parses the header of a file as Python, and raises of a damaged one whatever
    its parser does; a size that was altered may ask for more memory than there is.

    Args:
        path: Path of the file.

    Returns:
        The array; never one of Python objects.

    Raises:
        ValueError: If the file is no array. The message has the reason.
        OSError: If it cannot be read.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(
            f"The file must be an array. Received: {path} "
            f"({type(error).__name__}: {error})"
        ) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"The file must be one array. Received: {path}, an archive")
    return array
