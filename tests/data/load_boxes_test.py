"""Every format gives the same boxes; faults are named and counted."""

import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_distill.data import load_boxes
from tests.data import box_folders
from tests.data.box_folders import IMAGES, facts

ROBOFLOW = "{split}/_annotations.coco.json"
FORMATS = {
    "voc": box_folders.voc,
    "coco": box_folders.coco,
    "roboflow": lambda root: box_folders.coco(root, layout=ROBOFLOW),
    "flat coco": lambda root: box_folders.coco(root, layout="{split}.json"),
    "compact": box_folders.compact,
}


@pytest.fixture(params=FORMATS)
def folder(request, tmp_path):
    return FORMATS[request.param](tmp_path)


def truth(names):
    return {
        name: sorted(
            (label, np.float64(box).tolist())
            for box, label in zip(*IMAGES[name][1:], strict=True)
        )
        for name in names
    }


def test_every_format_gives_the_same_boxes(folder):
    train, test = load_boxes(folder, (30, 40))
    assert facts(train) == truth("abc") and facts(test) == truth("d")
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.image_shape == (30, 40, 3) and train.dropped == train.skipped == ()
    assert train.images.read([0, 1, 2])[:, 0, 0].tolist() == [
        [0, 0, 200], [10, 0, 200], [20, 0, 200],
    ]  # fmt: skip


def test_another_split_can_evaluate_and_test_is_not_trained_on(folder):
    train, evaluation = load_boxes(folder, (30, 40), evaluation="val")
    assert facts(train) == truth("ab") and facts(evaluation) == truth("c")
    with pytest.raises(ValueError, match="one of t.*val.*'nonsense'"):
        load_boxes(folder, 32, evaluation="nonsense")


def test_images_keep_their_shape_and_boxes_follow(folder):
    (train, test), (large, _) = load_boxes(folder, (64, 60)), load_boxes(folder, 320)
    assert train.scales[0].tolist() == [1.5, 1.5]
    np.testing.assert_allclose(test.boxes[0], [[15, 7.5, 45, 37.5]])
    images = train.images.read([1])[0]
    assert (images[:45] == [10, 0, 200]).all() and (images[45:] == 127).all()
    np.testing.assert_allclose(large.boxes[0][0], np.multiply([4, 2, 20, 12], 8))


def test_where_pixels_are_does_not_matter(folder):
    held, _ = load_boxes(folder, (64, 60))
    lazy, _ = load_boxes(folder, (64, 60), memory_limit=0)
    assert held.images.in_memory and not lazy.images.in_memory
    assert held.fingerprint() == lazy.fingerprint()
    np.testing.assert_array_equal(
        held.images.read([2, 0]), lazy.subset([2, 0]).images.read([0, 1])
    )


def test_classes_can_be_given_in_another_order(folder):
    train, _ = load_boxes(folder, 32, class_names=["bird", "dog", "cat"])
    assert sorted(train.labels[0].tolist()) == [1, 2]
    assert [n for n, _ in facts(train)["a"]] == ["cat", "dog"]
    with pytest.raises(ValueError, match=r"among bird, cat. Received: .*\['dog'\]"):
        load_boxes(folder, 32, class_names=["bird", "cat"])


BAD = [
    [5, 5, 5, 9],  # no area
    [9, 9, 5, 5],  # corners the wrong way
    [50, 5, 60, 9],  # outside
    [-10, -10, 0, 5],  # outside, touching
    [30, 20, 60, 50],  # leaves the image
    [float("nan"), 0, 4, 4],
]


@pytest.mark.parametrize("make", [box_folders.voc, box_folders.compact])
def test_boxes_without_area_or_outside_are_dropped_and_counted(make, tmp_path):
    images = {**IMAGES, "b": ("train", BAD, ["cat"] * 6)}
    with pytest.warns(UserWarning, match="5 boxes.*2 no area, 2 outside.*1 not finite"):
        train, _ = load_boxes(make(tmp_path, images), (30, 40))
    assert facts(train)["b"] == [("cat", [30, 20, 40, 30])]
    reasons = [one.reason for one in train.dropped]
    assert reasons == ["no area"] * 2 + ["outside the image"] * 2 + ["not finite"]
    assert {one.id for one in train.dropped} == {"b"}
    assert train.dropped[2].box == (50, 5, 60, 9)
    assert train.subset([0]).dropped == ()


def test_coco_boxes_without_area_are_dropped(tmp_path):
    images = {**IMAGES, "b": ("train", [[5, 5, 5, 9], [9, 9, 5, 5]], ["cat"] * 2)}
    with pytest.warns(UserWarning, match="2 boxes of .* are left out .2 no area"):
        train, _ = load_boxes(box_folders.coco(tmp_path, images), (30, 40))
    assert facts(train)["b"] == []


def test_broken_files_are_left_out_named_and_counted(tmp_path):
    box_folders.voc(tmp_path)
    (tmp_path / "JPEGImages" / "a.png").write_bytes(b"no image")
    (tmp_path / "JPEGImages" / "b.png").unlink()
    Image.new("RGB", (41, 30)).save(tmp_path / "JPEGImages" / "c.png")
    with open(tmp_path / "ImageSets" / "Main" / "train.txt", "a") as listed:
        listed.write("x\ny\nz\ne\n")
    (tmp_path / "Annotations" / "x.xml").write_text("<annotation><object>")
    (tmp_path / "Annotations" / "y.xml").write_text(
        "<annotation><object><name>cat</name></object></annotation>"
    )
    shutil.copy(tmp_path / "Annotations" / "d.xml", tmp_path / "Annotations" / "e.xml")
    shutil.copy(tmp_path / "JPEGImages" / "d.png", tmp_path / "JPEGImages" / "e.png")
    with pytest.warns(UserWarning, match="6 of 7 images .*left out: a: Cannot read"):
        train, _ = load_boxes(tmp_path, (30, 40))
    reasons = dict(train.skipped)
    assert train.ids == ("e",)
    assert "is (41, 30), and (40, 30) by its annotation" in reasons["c"]
    assert "annotation cannot be read" in reasons["x"]
    assert "lacks the name or a corner" in reasons["y"]
    assert reasons["b"] and "z.xml" in reasons["z"]


def test_nothing_but_broken_files_is_an_error(tmp_path):
    box_folders.compact(tmp_path)
    (tmp_path / "images" / "d.png").unlink()
    with pytest.raises(ValueError, match="image that can be read. Received: d: "):
        load_boxes(tmp_path, 32)


def test_difficult_ones_and_crowds_are_ignored(tmp_path):
    box_folders.voc(tmp_path / "voc")
    path = tmp_path / "voc" / "Annotations" / "a.xml"
    text = path.read_text()
    path.write_text(text.replace("<difficult>0", "<difficult>1", 1))
    train, _ = load_boxes(tmp_path / "voc", (30, 40))
    assert train.ignored[0].tolist() == [True, False] and train.most_boxes == 1
    np.testing.assert_allclose(train.padded()["boxes"][0], [[0, 0, 40, 30]])
    box_folders.coco(tmp_path / "coco")
    path = tmp_path / "coco" / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    train, _ = load_boxes(tmp_path / "coco", (30, 40))
    assert train.ignored[0].tolist() == [False, True]


def test_a_split_that_repeats_images_is_not_trained_on_twice(tmp_path):
    box_folders.voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    (lists / "test.txt").unlink()
    (lists / "cat_train.txt").write_text("a 1\nb -1\n")
    train, evaluation = load_boxes(tmp_path, (30, 40))
    assert train.ids == ("a", "b") and evaluation.ids == ("c",)


def test_without_splits_a_fifth_is_held_out(tmp_path):
    images = {name: ("all", [[1, 1, 5, 5]], ["cat"]) for name in "abcd"}
    box_folders.compact(tmp_path, images)
    train, evaluation = load_boxes(tmp_path, 32)
    assert len(train) == 3 and len(evaluation) == 1
    assert not set(train.ids) & set(evaluation.ids)
    assert load_boxes(tmp_path, 32)[1].ids == evaluation.ids


def test_the_group_of_the_categories_is_no_class(tmp_path):
    root = box_folders.coco(tmp_path, layout=ROBOFLOW)
    for path in root.glob("*/_annotations.coco.json"):
        content = json.loads(path.read_text())
        for one in content["categories"]:
            one["supercategory"] = "pets"
        content["categories"].append({"id": 0, "name": "pets", "supercategory": "none"})
        path.write_text(json.dumps(content))
    train, _ = load_boxes(root, (30, 40))
    assert train.class_names == ("cat", "dog") and facts(train) == truth("abc")


def change(root, name, function):
    path = root / name
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "fault, message",
    [
        (
            lambda c: c["images"][0]["labels"].append(0),
            "one label. Received: image='a'",
        ),
        (lambda c: c["images"][0]["labels"].__setitem__(0, 2), "label=2, image='a'"),
        (lambda c: c["images"][0]["boxes"][0].pop(), "four numbers.*image='a'"),
        (lambda c: c["images"][0].pop("boxes"), "must have boxes.*image=a in"),
        (lambda c: c["images"].append(c["images"][0]), "Ids of images must all differ"),
    ],
)
def test_a_compact_file_that_does_not_fit_is_refused(fault, message, tmp_path):
    box_folders.compact(tmp_path)
    change(tmp_path, "annotations.json", fault)
    with pytest.raises(ValueError, match=message.replace("all differ", "all be diff")):
        load_boxes(tmp_path, 32)


@pytest.mark.parametrize(
    "fault, message",
    [
        (lambda c: c["annotations"][0].update(category_id=9), "category 9 in .*train"),
        (lambda c: c["annotations"][0].update(image_id=99), "image 99, category"),
        (lambda c: c["annotations"][0].pop("bbox"), "not as COCO's.*'bbox'.*file="),
        (
            lambda c: c["categories"][0].update(name="wolf"),
            "categories must be those of .*Received",
        ),
    ],
)
def test_a_coco_file_that_does_not_fit_is_refused(fault, message, tmp_path):
    box_folders.coco(tmp_path)
    change(tmp_path, "annotations/instances_train.json", fault)
    with pytest.raises(ValueError, match=message):
        load_boxes(tmp_path, 32)


def test_what_is_laid_out_otherwise_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="existing folder, .*tfds:voc.*nowhere"):
        load_boxes(tmp_path / "nowhere", 32)
    with pytest.raises(ValueError, match="laid out as Pascal VOC.*Received"):
        load_boxes(tmp_path, 32)
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(ValueError, match="Cannot read JSON .*annotations.json"):
        load_boxes(tmp_path, 32)
    (tmp_path / "annotations.json").write_text("[]")
    with pytest.raises(ValueError, match="must be COCO's JSON.*annotations.json"):
        load_boxes(tmp_path, 32)
    with pytest.raises(ValueError, match="one of tfds:bccd.*name='tfds:kitti'"):
        load_boxes("tfds:kitti", 32)


def test_a_file_may_be_named_itself(tmp_path):
    box_folders.compact(tmp_path)
    train, _ = load_boxes(tmp_path / "annotations.json", (30, 40))
    assert facts(train) == truth("abc")


def test_blood_cells_are_whole(real_data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, test = load_boxes(real_data("bccd"), (256, 320))
    assert (len(train), len(test)) == (292, 72)
    assert (train.box_count, test.box_count) == (2804 + 1137, 945)
    assert train.class_names == ("RBC", "WBC", "Platelets")
    assert np.bincount(np.concatenate(test.labels)).tolist() == [805, 71, 69]
    assert (train.images.read([0])[0, 240:] == 127).all()
