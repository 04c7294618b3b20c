"""A folder of images: the folder that holds an image is its class."""

import concurrent.futures
import os
import pathlib
import warnings

import numpy as np

from keras_distill.data.image_set import ImageSet, digest, opened
from keras_distill.data.progress import progress
from keras_distill.device.read_image import is_grey, read_image

SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"]
)
MEMORY_LIMIT = 2**30  # bytes of decoded images to keep


def image_folder(folder, image_size, channels=None, memory_limit=MEMORY_LIMIT):
    """Reads a folder of images as one set; its classes are not split.

    A class is the path of the folder that holds the image, relative to `folder`
    (`"Greek/character01"`; `"."` for images that lie in `folder` itself). Classes
    and images are in the order of their paths. Names that begin with a dot are
    passed over, as are files that are not called like an image.

    Every image is decoded once, in parallel, before anything else happens: broken
    ones are found here, left out and named by one warning, so that labels fit and
    no epoch dies halfway. What fits into `memory_limit` stays in memory; a larger
    set is decoded again, in parallel, whenever a batch is made.

    Args:
        folder: The path of the folder. Links are followed.
        image_size: `(height, width)` in pixels, or one number for both.
        channels: 1 or 3. Defaults to 1 where every image is grey, else 3.
        memory_limit: Bytes. Defaults to 1 GiB.

    Returns:
        An `ImageSet` whose ids are paths relative to `folder`, with `/`.

    Raises:
        FileNotFoundError: If the folder is missing.
        NotADirectoryError: If it is a file.
        ValueError: If it holds no image, or a class only images that cannot be read.
    """
    root = pathlib.Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"There must be such a folder. Received: folder={root}")
    if not root.is_dir():
        raise NotADirectoryError(
            f"A folder is expected, not a file. Received: folder={root}"
        )
    ids = _paths(root)
    if not ids:
        raise ValueError(
            "The folder must hold images, best in one folder for each class "
            f"({' '.join(sorted(SUFFIXES))}). Received: folder={root}"
        )
    files = [str(root / name) for name in ids]
    classes = [name.rpartition("/")[0] or "." for name in ids]
    return checked_files(
        str(root), files, ids, classes, image_size, channels, memory_limit
    )


def checked_files(name, files, ids, classes, image_size, channels, memory_limit):
    """An `ImageSet` of the files that can be read.

    Args:
        name: Name of the set.
        files: N paths, or bytes of files.
        ids: N strings that name them.
        classes: N class names.
        image_size: Number or `(height, width)`.
        channels: 1, 3 or None.
        memory_limit: Bytes of decoded images to keep.

    Returns:
        An `ImageSet`; its classes are in the order of their first image.

    Raises:
        ValueError: If a class has only images that cannot be read.
    """
    height, width = np.broadcast_to(image_size, 2)
    reasons = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        if channels is None:
            channels = 1 if all(pool.map(_grey_or_broken, files)) else 3
        shape = (int(height), int(width), channels)
        keep = len(files) * np.prod(shape, dtype=np.int64) <= memory_limit
        images = np.empty((len(files), *shape), np.uint8) if keep else None
        digests = np.zeros((len(files), 16), np.uint8)

        def check(row):
            try:
                image = read_image(opened(files[row]), shape)
            except (ValueError, OSError) as error:
                reasons[row] = _reason(error)
                return
            digests[row] = digest(image)
            if keep:
                images[row] = image

        rows = pool.map(check, range(len(files)))
        for _ in progress(rows, len(files), f"reading {name}"):
            pass
    good = np.array([row for row in range(len(files)) if row not in reasons], int)
    skipped = [(ids[row], reasons[row]) for row in sorted(reasons)]
    _say_skipped(name, skipped, classes, good)
    class_names = list(dict.fromkeys(classes))
    number = {class_name: label for label, class_name in enumerate(class_names)}
    if keep:
        images = images if len(good) == len(files) else images[good]
    else:
        images = [files[row] for row in good]
    return ImageSet(
        images,
        [number[classes[row]] for row in good],
        class_names,
        [ids[row] for row in good],
        name,
        shape,
        skipped,
        digests[good],
    )


def _paths(root):
    """Relative paths of the images under `root`, with `/`, in order."""
    found, visited = [], set()
    for folder, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # A link that leads back, or a folder linked twice.
            inner.clear()
            continue
        visited.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES and not name.startswith("."):
                relative = pathlib.Path(folder, name).relative_to(root)
                found.append(relative.as_posix())
    return sorted(found, key=lambda path: (path.rpartition("/")[0], path))


def _grey_or_broken(file):
    try:
        return is_grey(opened(file))
    except (ValueError, OSError):
        return True  # It is skipped when it is read, and decides nothing.


def _reason(error):
    text = str(error)
    return text.partition(" Received: ")[0] or type(error).__name__


def _say_skipped(name, skipped, classes, good):
    if not skipped:
        return
    some = "; ".join(f"{path}: {reason}" for path, reason in skipped[:5])
    more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
    empty = sorted(set(classes) - {classes[row] for row in good})
    if empty:
        raise ValueError(
            f"Every class must have an image that can be read; {len(empty)} of "
            f"{name!r} have none. Received: classes={empty[:5]}, broken files: "
            f"{some}{more}"
        )
    warnings.warn(
        f"{len(skipped)} of {len(classes)} images of {name!r} cannot be read and "
        f"are left out: {some}{more}",
        stacklevel=4,
    )
