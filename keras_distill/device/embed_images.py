"""Embed images with a file, as a program: for a Python that has another runtime.

    python -m keras_distill.device.embed_images MODEL IMAGES.npy EMBEDDINGS.npy

prints one line of JSON: the runtime, its version, and the milliseconds of an image.
"""

import json
import pathlib
import sys

import numpy as np

from keras_distill.device.embedder import Embedder


def main(arguments):
    model, images, out = arguments
    embedder = Embedder(pathlib.Path(model).read_bytes())
    pixels = np.load(images, mmap_mode="r")
    np.save(out, embedder.embed(pixels))
    found = {
        "runtime": embedder.runtime.name,
        "version": embedder.runtime.version,
        "milliseconds": embedder.milliseconds(pixels[0]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
