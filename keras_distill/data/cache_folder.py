"""The files of a teacher cache, and what it was made of."""

import json

import numpy as np

from keras_distill import atomic

FORMAT = "keras_distill teacher cache 1"
MANIFEST, ARRAY, KEYS = "cache.json", "embeddings.npy", "images.npz"
JOURNAL = "finished_blocks.txt"  # while it is being made

_CHANGES = {
    "architecture": "the teacher's architecture",
    "weights": "the teacher's weights",
    "keyed_by": "whether images come as an ImageSet or as a tf.data.Dataset",
    "image_shape": "the size of the images",
    "augment": "the augmentation of the views",
    "count": "the number of views",
    "seed": "the seed of the views",
}


def refuse_foreign(folder):
    """Raises FileExistsError if the folder holds something but no cache."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            f"A folder is expected, not a file. Received: folder={folder}"
        )
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    # A kill between two files leaves these, and hidden ones of `atomic`.
    begun = {JOURNAL, KEYS}
    names = sorted(path.name for path in folder.iterdir())
    others = [name for name in names if name not in begun and name[0] != "."]
    if others:
        raise FileExistsError(
            "The folder of a cache must be its own, new or empty. "
            f"Received: folder={folder}, which holds {others[:5]}"
        )


def read_manifest(folder):
    """What is written about a cache; None where there is none.

    Returns:
        `{"finished": bool, "teacher": its name, "made_of": {...}}`.

    Raises:
        ValueError: If it cannot be read or is of another kind.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        manifest = json.loads(text)
        known = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise broken(folder, MANIFEST) from error
    if known != FORMAT:
        raise ValueError(
            f"The cache must be of the format {FORMAT!r}: make it anew in another "
            f"folder. Received: folder={folder}, format={known!r}"
        )
    return manifest


def write_manifest(folder, made_of, teacher, finished):
    """Writes what is known of a cache.

    Args:
        folder: Its folder.
        made_of: Dictionary of what must not change, see `changes`.
        teacher: Name of the teacher, for people.
        finished: Whether every embedding is there.
    """
    manifest = {"format": FORMAT, "finished": finished, "teacher": teacher}
    text = json.dumps({**manifest, "made_of": plain(made_of)}, indent=2)
    atomic.write_text(folder / MANIFEST, f"{text}\n")


def read_keys(folder):
    """The arrays by which a cache knows its images: ids and digests, or sums."""
    try:
        # numpy would not close a file that it finds broken.
        with open(folder / KEYS, "rb") as stream, np.load(stream) as file:
            return dict(file)
    except Exception as error:  # zipfile, zlib and numpy each have their own
        raise broken(folder, KEYS) from error


def write_keys(folder, keys):
    """Writes the arrays that `read_keys` reads."""
    with atomic.file(folder / KEYS) as temporary:
        np.savez_compressed(temporary, **keys)


def changes(known, wanted):
    """What of `wanted` is otherwise in `known`, as a list of words for people."""
    wanted = plain(wanted)
    return [
        text
        for name, text in _CHANGES.items()
        if name in wanted and known.get(name) != wanted[name]
    ]


def broken(folder, file):
    """The error of a cache whose files are not what was written."""
    return ValueError(
        f"The cache is broken, {file} is not what was written: delete the folder and "
        f"make it anew. Received: folder={folder}"
    )


def plain(value):
    """A configuration as JSON gives it back, so that two can be compared.

    Numbers and arrays of numpy are what they hold; what JSON cannot say at all is the
    name of its class.
    """
    return json.loads(json.dumps(value, default=_named))


def _named(thing):
    return thing.tolist() if hasattr(thing, "tolist") else type(thing).__name__
