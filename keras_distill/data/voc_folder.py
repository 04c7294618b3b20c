"""Pascal VOC: one XML file of boxes for each image."""

import pathlib
import xml.etree.ElementTree as ElementTree

from keras_distill.data.annotated import Annotated, Annotations


def is_voc(folder):
    """Whether `folder` has the two folders of the format."""
    return all((folder / name).is_dir() for name in ("Annotations", "JPEGImages"))


def voc_folder(folder):
    """Reads `Annotations/*.xml`, and the lists in `ImageSets/Main` of each split.

    The files `ImageSets/Main/{train,val,trainval,test}.txt` are the splits (those of
    single classes, `dog_train.txt`, are passed over); without any, all images are one
    split, `"all"`. The numbers of `bndbox` are taken for corners as they are: VOC
    counts the first pixel as 1, which is half a pixel of difference. What is
    `difficult` is ignored. A file that is no XML, or lacks a number, is a fault of
    its image.

    Args:
        folder: Path of the folder that holds `Annotations` and `JPEGImages`.

    Returns:
        `Annotations`; classes in the order of their names, images in that of their
        ids, which are the names of the XML files without suffix.

    Raises:
        ValueError: If there is no annotation.
    """
    folder = pathlib.Path(folder)
    images = {
        path.stem: path
        for path in sorted((folder / "JPEGImages").iterdir())
        if not path.name.startswith(".")
    }
    splits = {
        name: listed.read_text().split()
        for name in ("train", "val", "trainval", "test")
        if (listed := folder / "ImageSets" / "Main" / f"{name}.txt").is_file()
    }
    annotated = {path.stem for path in (folder / "Annotations").glob("*.xml")}
    wanted = annotated.union(*splits.values())
    if not wanted:
        raise ValueError(
            "A folder of Pascal VOC must have Annotations/*.xml. "
            f"Received: folder={folder}"
        )
    items = [_item(folder, name, images.get(name)) for name in sorted(wanted)]
    names = sorted({label for item in items for label in item.labels})
    return Annotations(items, splits or {"all": sorted(wanted)}, names)


def _item(folder, name, image):
    path = folder / "Annotations" / f"{name}.xml"
    try:
        root = ElementTree.parse(path).getroot()
        named = root.findtext("filename") or ""
        if image is None:
            image = folder / "JPEGImages" / (pathlib.PurePath(named).name or name)
        size = tuple(int(root.findtext(f"size/{k}") or 0) for k in ("width", "height"))
        objects = root.findall("object")
        return Annotated(
            name,
            str(image),
            [
                [float(one.find("bndbox").findtext(corner)) for corner in _CORNERS]
                for one in objects
            ],
            tuple(one.findtext("name").strip() for one in objects),
            tuple((one.findtext("difficult") or "0").strip() == "1" for one in objects),
            size if all(size) else None,
        )
    except (ElementTree.ParseError, OSError, ValueError) as error:
        fault = f"annotation cannot be read ({error})"
    except (AttributeError, TypeError):
        fault = "annotation lacks the name or a corner of a box"
    return Annotated(name, None, fault=fault)


_CORNERS = ("xmin", "ymin", "xmax", "ymax")
