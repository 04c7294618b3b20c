"""Detect on images with a file, as a program: for a Python that has another runtime.

    python -m keras_distill.device.detect_images MODEL ANCHORS.npy OPTIONS.json \
        IMAGES.npy FOUND.npz

prints one line of JSON: the runtime, its version, and the milliseconds of an image.
"""

import json
import pathlib
import sys

import numpy as np

from keras_distill.device.detector import Detector


def main(arguments):
    model, anchors, options, images, out = arguments
    detector = Detector(
        pathlib.Path(model).read_bytes(),
        np.load(anchors),
        **json.loads(pathlib.Path(options).read_text()),
    )
    pixels = np.load(images, mmap_mode="r")
    np.savez(out, **detector.detect_all(pixels))
    found = {
        "runtime": detector.runtime.name,
        "version": detector.runtime.version,
        "milliseconds": detector.milliseconds(pixels[0]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
