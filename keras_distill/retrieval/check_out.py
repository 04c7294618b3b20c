"""Where a bundle may be written."""

import pathlib

from keras_distill.device.manifest import NAME


def check_out(out, overwrite=False):
    """Refuses to write a bundle where something else is, before anything is done.

    Args:
        out: Path of the folder to write.
        overwrite: Whether a bundle that is there may be replaced.

    Raises:
        FileExistsError: If something is there and `overwrite` is false.
        ValueError: If what is there is no bundle.
    """
    out = pathlib.Path(out)
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise FileExistsError(
            "The bundle exists already: replace it (overwrite) or choose another "
            f"folder. Received: out={out}"
        )
    if not out.is_dir() or (any(out.iterdir()) and not (out / NAME).is_file()):
        raise ValueError(
            "What is there is no bundle and is left alone: choose another folder. "
            f"Received: out={out}"
        )
