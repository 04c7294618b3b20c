"""Add images to the catalogue of a bundle and take others out, without the student."""

import itertools
import json
import pathlib
import shutil

import numpy as np

from keras_distill import atomic
from keras_distill.device.load_array import load_array
from keras_distill.device.open_bundle import open_bundle
from keras_distill.retrieval.added_images import AddedImages
from keras_distill.retrieval.bundle_manifest import write_manifest
from keras_distill.retrieval.catalogue_part import (
    GOLDEN_IMAGES,
    catalogue_thresholds,
    write_catalogue,
    write_golden,
    write_search,
)
from keras_distill.retrieval.spread import spread
from keras_distill.retrieval.task_searcher import task_searcher
from keras_distill.retrieval.thumbnails import write_thumbnails

# Sections of a manifest that say something of a catalogue and cannot be made anew
# without the student: they go with the catalogue they are of.
_OF_THE_CATALOGUE = ("retrieval",)


def update_bundle(bundle, add=None, remove=(), progress=None):
    """Changes the catalogue of a bundle; the networks stay.

    Images are embedded by the int8 file of the bundle, the one that embedded the
    others. Names, index, search file and thresholds are then made as `write_bundle`
    makes them, of the images that stay, in their order, and those that are added: a
    bundle that is written anew with this catalogue searches alike, to the byte of
    these files. So are the Task Library's file and the thumbnails, where there are
    some. The thresholds of the float network and the report need the student: they
    are left out, and the manifest's `updated` says so; so are thumbnails where those
    of another bundle are to be added and it has none.

    The new bundle takes the place of the old one in one step, when it is complete and
    has passed the check of its golden images: a crash at any moment leaves either
    (where the system cannot exchange folders, see `keras_distill.atomic.folder`).
    Golden images of what is removed are removed.

    Args:
        bundle: Path of the bundle.
        add: `keras_distill.data.ImageSet` to add, its images of the bundle's size; or
            the path of another bundle of the same student, whose embeddings are taken
            as they are. Defaults to nothing.
        remove: Ids to take out. An id that is removed may be added again.
        progress: Function `(what, done, total)` called as the work goes on.

    Returns:
        The new manifest, a dictionary.

    Raises:
        FileNotFoundError: If there is no bundle.
        BundleError: A `ValueError`; if a bundle is damaged, or the other bundle was
            made by another student.
        ValueError: If there is nothing to do, an id to remove is not there, an id to
            add is there already, images have another size, or fewer than two images
            would be left.
        VerificationError: A `ValueError`; see `write_bundle`.
        OSError: If the disk is full; the bundle is then as it was.

    Example:

    ```python
    images = keras_distill.data.image_folder("new", (32, 32), channels=1)
    update_bundle("bundles/glyphs", add=images, remove=["A/old.png"])
    ```
    """
    path, report = pathlib.Path(bundle), progress or (lambda what, done, total: None)
    opened = open_bundle(path)
    remove = [remove] if isinstance(remove, str) else list(remove)
    kept = _kept(opened.ids, remove)
    added = AddedImages.of(opened, add, report)
    _check_ids([opened.ids[i] for i in kept], added.ids, opened)
    if not added.ids and not remove:
        raise ValueError(
            "There must be images to add or to remove. Received: add of no images, "
            "remove=[]"
        )
    names = _names(opened, kept, added)
    if len(names["ids"]) < 2:
        raise ValueError(
            "At least two images must be left in a catalogue. "
            f"Received: {len(names['ids'])} of {len(opened)} after the update"
        )
    rows = np.concatenate([opened.rows[kept], added.rows])
    catalogue = opened.manifest["catalogue"]
    queries = load_array(path / catalogue["queries"])
    rate = (opened.manifest.get("thresholds") or {}).get("false_match_rate")
    with atomic.folder(path, overwrite=True) as folder:
        manifest = _copied(opened, folder)
        _write_thumbnails(folder, opened, kept, added, manifest)
        report("Indexing", 0, 1)
        manifest["catalogue"] = {
            "embedded_by": catalogue["embedded_by"],
            "embedder": catalogue["embedder"],
            **write_catalogue(
                folder,
                names,
                rows,
                queries,
                catalogue["index_asked_for"],
                catalogue["recall"],
            ),
        }
        model = (folder / catalogue["embedded_by"]).read_bytes()
        manifest["search"] = write_search(
            folder,
            model,
            rows,
            queries,
            opened.manifest["search"]["neighbours_asked_for"],
        )
        manifest["thresholds"] = _thresholds(rows, names["labels"], rate)
        manifest["golden"] = _write_golden(folder, opened, kept, added, names, rows)
        if "task_library" in opened.manifest:
            with np.load(folder / manifest["golden"]["file"]) as file:
                images = file["images"]
            manifest["task_library"] = task_searcher(
                model,
                rows,
                names["ids"],
                images,
                recall=catalogue["recall"],
                name=opened.manifest["student"]["name"],
            ).write(folder)
        before = manifest.get("updated", {"left_out": []})
        left_out = sorted({*before["left_out"], *manifest.pop("left_out")})
        manifest["updated"] = {
            "added": len(added.ids),
            "removed": len(remove),
            "left_out": left_out,
        }
        write_manifest(folder, manifest)
        open_bundle(folder).check_golden()
        report("Indexing", 1, 1)
    return manifest


def _kept(ids, remove):
    """The rows that stay, ascending."""
    unknown = sorted({*remove} - {*ids})
    if unknown:
        raise ValueError(
            "Every id to remove must be in the catalogue. "
            f"Received: {len(unknown)} that are not, such as {unknown[:3]}"
        )
    gone = {*remove}
    return np.array([i for i, name in enumerate(ids) if name not in gone], int)


def _check_ids(kept, added, opened):
    there = {*kept}
    twice = [name for name in added if name in there]
    if twice:
        raise ValueError(
            "Every id to add must be new: remove those that shall be replaced. "
            f"Received: {len(twice)} that are in {opened.path}, such as {twice[:3]}"
        )


def _names(opened, kept, added):
    file = opened.path / opened.manifest["catalogue"]["ids"]
    names = json.loads(file.read_text(encoding="utf-8"))
    class_names = list(names["class_names"])
    numbers = {name: number for number, name in enumerate(class_names)}
    for name in added.classes:
        if name not in numbers:
            numbers[name] = len(class_names)
            class_names.append(name)
    labels = [names["labels"][i] for i in kept]
    found = {
        "name": opened.manifest["catalogue"]["name"],
        "ids": [*(opened.ids[i] for i in kept), *added.ids],
        "labels": labels + [numbers[name] for name in added.classes],
        "class_names": class_names,
    }
    synonyms = {**names.get("synonyms", {}), **added.synonyms}
    return found | ({"synonyms": synonyms} if synonyms else {})


def _copied(opened, folder):
    """Copies what does not depend on the catalogue; the manifest so far."""
    manifest = dict(opened.manifest)
    left_out = [name for name in _OF_THE_CATALOGUE if manifest.pop(name, None)]
    sections = [manifest["models"], manifest.get("group", {}).get("models", {})]
    kept = {facts["file"] for section in sections for facts in section.values()}
    for name in sorted(kept):
        shutil.copyfile(opened.path / name, folder / name)
    if "float32" in (manifest.get("thresholds") or {}).get("models", {}):
        left_out.append("thresholds of the float network")
    if "report.html" in manifest["files"]:
        left_out.append("report")
    manifest["left_out"] = left_out
    return manifest


def _write_thumbnails(folder, opened, kept, added, manifest):
    """Those of what stays and of what is added, where both have some."""
    if manifest.pop("thumbnails", None) is None:
        return
    if added.thumbnails is None:
        manifest["left_out"].append("thumbnails")
        return
    pictures = itertools.chain(map(opened.thumbnail, kept.tolist()), added.thumbnails)
    manifest["thumbnails"] = write_thumbnails(folder, pictures, opened.image_shape)


def _thresholds(rows, labels, rate):
    """As `write_bundle` has them; a catalogue that has become too small says so."""
    try:
        return catalogue_thresholds(rows, labels, rate)
    except ValueError as error:
        return {"false_match_rate": rate, "models": {}, "refused": str(error)}


def _write_golden(folder, opened, kept, added, names, rows):
    """Golden images of what stays and of what is added, at most 32."""
    with np.load(opened.path / opened.manifest["golden"]["file"]) as file:
        golden = dict(file)
    there = {opened.ids[i] for i in kept}
    stays = np.array([name in there for name in golden["image_ids"].tolist()])
    ids, images, embeddings = (
        np.concatenate([golden[key][stays], new])
        for key, new in (
            ("image_ids", np.array(added.image_ids, dtype=str)),
            ("images", added.images),
            ("embeddings", added.embeddings),
        )
    )
    chosen = spread(len(images), GOLDEN_IMAGES)
    if not len(chosen):
        raise ValueError(
            "A golden image of the catalogue must be left to check a device with: add "
            "images, or remove fewer. Received: none of "
            f"{len(golden['images'])} stays"
        )
    images, embeddings = images[chosen], embeddings[chosen]
    others = {}
    if "group" in opened.manifest:
        others = _group_figures(opened, images, embeddings)
    return write_golden(
        folder, ids[chosen], images, embeddings, names["ids"], rows, **others
    )


def _group_figures(opened, images, embeddings):
    from keras_distill.retrieval.group_part import golden_group

    scores = opened.score(images)
    nearest = np.argsort(-(embeddings @ embeddings[0]), kind="stable")[:5]
    return {
        "image_scores": scores,
        **golden_group(
            images[nearest],
            embeddings[nearest],
            scores[nearest],
            opened.manifest["group"],
        ),
    }
