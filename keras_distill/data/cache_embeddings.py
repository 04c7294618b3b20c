"""Ask a frozen teacher once, so that training need not."""

import contextlib
import errno
import math
import pathlib
import shutil
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_distill.data import cache_folder
from keras_distill.data.cached_images import cached_images
from keras_distill.data.fixed_views import FixedViews
from keras_distill.data.resumable_rows import ResumableRows, held
from keras_distill.data.teacher_cache import TeacherCache
from keras_distill.data.teacher_fingerprint import teacher_fingerprint
from keras_distill.models.teacher_view import TeacherView

# Relative distance of embeddings. Of a trained conv4 on glyphs, bfloat16 arithmetic
# makes 0.7 %, pixels 1 % brighter 4 %, resizing without antialiasing 12 %.
TOLERANCE = 0.02


def cache_embeddings(teacher, images, folder, views=None, batch_size=256):
    """Embeds images with a teacher and keeps the result on disk.

    Done once: a finished cache is opened again, and one that was interrupted (Ctrl-C,
    a kill, a full disk) is gone on with from its last whole batch. The folder holds
    `embeddings.npy`, float32 `(views, N, dim)`; `images.npz`, by which images are known
    again; and `cache.json`, what the cache was made of.

    A cache that is there is never overwritten. It is refused where the teacher's
    architecture or weights, the images, their size or the views are others than it was
    made of; and where the teacher now says otherwise of eight images than it did: their
    embeddings may differ by 2 % of their length, so that another processor passes and
    code that prepares images in another way does not.

    Args:
        teacher: A `keras.Model` from images to `(batch, dim)`, of any resolution and
            dtype; called in inference mode. Images are brought to its size as
            `Distiller` does.
        images: `ImageSet`: embeddings are found by the ids of the images, for
            `class_balanced(..., teacher=cache)`. Or a finite `tf.data.Dataset` that
            yields the same batches whenever it is gone through: `images`,
            `(images, labels)` or `(inputs, labels)`, with a dictionary of inputs of
            which the teacher sees `"teacher_image"`, else `"image"`; embeddings are
            found by position, see `TeacherCache.attach`. It is gone through once more
            beforehand, to know its images again.
        folder: Where the cache is or shall be; missing parents are made.
        views: `FixedViews` of an `ImageSet`. Defaults to the images themselves.
        batch_size: Images in a step; a `tf.data.Dataset` keeps its own batches.

    Returns:
        `TeacherCache`.

    Raises:
        TypeError: If `teacher`, `images` or `views` are not of these kinds.
        ValueError: If the teacher does not give one finite row an image; if the
            dataset is endless, empty or another each time; if the cache that is there
            was made of something else, or is broken.
        FileExistsError: If the folder holds something else.
        BlockingIOError: If another process is making this cache.
        OSError: If the folder cannot be written or the disk is too small. What is
            finished is kept.

    Example:

    ```python
    views = FixedViews(keras_distill.layers.RandomAffine(), count=8)
    cache = cache_embeddings(teacher, train, "runs/teacher", views=views)
    batches = class_balanced(train, 28, 4, augment=views, teacher=cache)
    ```
    """
    if not isinstance(teacher, keras.Model):
        raise TypeError(f"The teacher must be a keras.Model. Received: {teacher!r}")
    views = FixedViews(None, count=1) if views is None else views
    if not isinstance(views, FixedViews):
        raise TypeError(
            "`views` must be FixedViews: others are never seen again. "
            f"Received: views={views!r}"
        )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be a positive integer. Received: {batch_size=}"
        )
    folder = pathlib.Path(folder)
    cache_folder.refuse_foreign(folder)
    source = cached_images(images, views, batch_size)
    embed = _inference(teacher, source.spec)
    made_of = {
        **teacher_fingerprint(teacher),
        "keyed_by": source.keyed_by,
        "image_shape": list(source.image_shape),
        **views.get_config(),
    }
    if not _is_finished(folder, made_of, source):
        _make(folder, made_of, source, embed, teacher.name)
        return TeacherCache(folder)
    cache = TeacherCache(folder)
    rows = cache.embeddings.reshape(-1, cache.dim)
    _refuse_another_opinion(folder, embed, source, rows.__getitem__, len(rows))
    return cache


def _make(folder, made_of, source, embed, name):
    """Begins a cache or goes on with one."""
    total = math.prod(source.leading)
    with contextlib.ExitStack() as stack:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            journal = stack.enter_context(held(folder / cache_folder.JOURNAL))
            # Another process may have begun or finished it before this one held it.
            if _is_finished(folder, made_of, source):
                return
            if cache_folder.read_manifest(folder) is None:
                cache_folder.write_keys(folder, source.keys())
                cache_folder.write_manifest(folder, made_of, name, finished=False)
            array = folder / cache_folder.ARRAY
            rows = stack.enter_context(ResumableRows(array, journal, source.leading))
        begun = f", {rows.finished} of {total} are there" if rows.finished else ""
        print(
            f"Embedding {source.leading[1]} images in {source.leading[0]} views with "
            f"{name!r}, once; kept in {folder}{begun}",
            file=sys.stderr,
            flush=True,
        )
        if rows.finished:
            _refuse_another_opinion(folder, embed, source, rows.read, rows.finished)
        for images in source.batches(rows.finished):
            said = _finite(embed(images).numpy(), name)
            with _writing(folder):
                if rows.dim is None:
                    _refuse_a_small_disk(folder, total * said[0].nbytes)
                rows.append(said)
        if rows.finished != total:
            raise ValueError(
                "The dataset must have as many images whenever it is gone through. "
                f"Received: {rows.finished} images, {total} a moment ago"
            )
        with _writing(folder):
            rows.to_disk()
            cache_folder.write_manifest(folder, made_of, name, finished=True)
    (folder / cache_folder.JOURNAL).unlink(missing_ok=True)


def _inference(teacher, spec):
    """The teacher as a function of image batches, traced once.

    What it cannot do is found here, before anything is written.
    """
    view = TeacherView(teacher)

    def forward(images):
        said, _ = view(images)
        if not tf.is_tensor(said) or said.shape.rank != 2:
            raise ValueError(
                "The teacher must give one embedding an image, of shape (batch, dim). "
                f"Received: teacher={teacher.name!r}, output={said}"
            )
        return tf.cast(said, tf.float32)

    traced = tf.function(forward, input_signature=[spec], autograph=False)
    return traced.get_concrete_function()


def _is_finished(folder, made_of, source):
    """Whether there is a whole cache; raises ValueError if it is of something else."""
    manifest = cache_folder.read_manifest(folder)
    if manifest is None:
        return False
    changed = cache_folder.changes(manifest["made_of"], made_of)
    changed = changed or source.changes(cache_folder.read_keys(folder))
    if changed:
        raise ValueError(
            "The cache was made of something else and is left as it is: use another "
            f"folder, or delete this one. Changed: {'; '.join(changed)}. "
            f"Received: folder={folder}"
        )
    return manifest["finished"]


def _refuse_another_opinion(folder, embed, source, known, finished):
    """Raises ValueError unless the teacher still says what it said of some images."""
    rows, images = source.probe(finished)
    before, now = known(rows), embed(images).numpy()
    apart = np.linalg.norm(now - before, axis=1)
    size = np.maximum(np.linalg.norm(before, axis=1), 1e-6)
    if not (apart <= TOLERANCE * size).all():
        raise ValueError(
            "The teacher, its weights and the images are those of the cache, and yet "
            "it says otherwise of them: how images are prepared has changed, or the "
            "libraries have. Use another folder, or delete this one. "
            f"Received: folder={folder}, embeddings {max(apart / size):.1%} apart, "
            f"of at most {TOLERANCE:.0%}"
        )


def _finite(said, name):
    if not np.isfinite(said).all():
        raise ValueError(
            "The teacher must give finite numbers. Received: "
            f"teacher={name!r}, output with {np.sum(~np.isfinite(said))} that are not"
        )
    return said


def _refuse_a_small_disk(folder, needed):
    free = shutil.disk_usage(folder).free
    if free < needed:
        size = f"{needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free"
        raise OSError(errno.ENOSPC, size)


@contextlib.contextmanager
def _writing(folder):
    """Says of an error in writing whose it is, and that nothing is lost."""
    try:
        yield
    except BlockingIOError as error:
        raise BlockingIOError(
            error.errno,
            f"Another process is making this cache. Received: folder={folder}",
        ) from error
    except OSError as error:
        raise OSError(
            error.errno,
            f"The cache cannot be written ({error.strerror}). What is finished is "
            f"kept: the same call goes on from there. Received: folder={folder}",
        ) from error
