"""The same four images with boxes, as each format has them."""

import json

import numpy as np
from PIL import Image

NAMES = ["cat", "dog"]
SIZE = (40, 30)  # width, height
# Of each image: split, boxes in pixels, classes.
IMAGES = {
    "a": ("train", [[4, 2, 20, 12], [0, 0, 40, 30]], ["dog", "cat"]),
    "b": ("train", [], []),
    "c": ("val", [[1, 1, 9, 9]], ["cat"]),
    "d": ("test", [[10, 5, 30, 25]], ["dog"]),
}


def pictures(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(IMAGES):
        Image.new("RGB", SIZE, (10 * number, 0, 200)).save(folder / f"{name}.png")


def voc(root, images=IMAGES):
    pictures(root / "JPEGImages")
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, (_, boxes, classes) in images.items():
        objects = "".join(
            f"<object><name>{label}</name><difficult>{int(difficult)}</difficult>"
            "<bndbox>"
            + "".join(
                f"<{k}>{v}</{k}>"
                for k, v in zip(["xmin", "ymin", "xmax", "ymax"], box, strict=True)
            )
            + "</bndbox></object>"
            for box, label, difficult in zip(
                boxes, classes, [False] * len(boxes), strict=True
            )
        )
        (root / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename><size><width>{SIZE[0]}</width>"
            f"<height>{SIZE[1]}</height></size>{objects}</annotation>"
        )
    for split in ("train", "val", "test"):
        names = [name for name, (own, _, _) in images.items() if own == split]
        path = root / "ImageSets" / "Main" / f"{split}.txt"
        path.write_text("\n".join(names) + "\n")
    return root


def coco(root, images=IMAGES, layout="annotations/instances_{split}.json"):
    for split in ("train", "val", "test"):
        content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        }
        for number, (name, (own, boxes, classes)) in enumerate(images.items()):
            if own != split:
                continue
            content["images"].append(
                {"id": number, "file_name": f"{name}.png", "width": 40, "height": 30}
            )
            for (x1, y1, x2, y2), label in zip(boxes, classes, strict=True):
                content["annotations"].append(
                    {
                        "id": len(content["annotations"]),
                        "image_id": number,
                        "category_id": {"dog": 7, "cat": 3}[label],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                    }
                )
        path = root / layout.format(split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        pictures(root / split)
    return root


def compact(root, images=IMAGES):
    pictures(root / "images")
    content = {
        "classes": NAMES,
        "images": [
            {
                "id": name,
                "file": f"images/{name}.png",
                "split": split,
                "boxes": boxes,
                "labels": [NAMES.index(label) for label in classes],
            }
            for name, (split, boxes, classes) in images.items()
        ],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def facts(boxes):
    """What is to be the same whatever the format: boxes and classes of each image."""
    return {
        boxes.ids[row].rpartition("/")[2].removesuffix(".png"): sorted(
            (boxes.class_names[label], np.round(box, 4).tolist())
            for box, label in zip(boxes.boxes[row], boxes.labels[row], strict=True)
        )
        for row in range(len(boxes))
    }
