"""Training on one replica and on two, compared in a process of its own."""

import os
import subprocess
import sys
import textwrap

# The devices must be divided before TensorFlow is used, hence the process.
BEFORE = """
import numpy as np, keras, tensorflow as tf
from keras import layers
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras_distill as kd
from keras_distill import methods
rng = np.random.default_rng(0)
images = rng.uniform(-1, 1, (16, 5)).astype("f4")
labels = np.tile(np.arange(4), 4).astype("i4")
rows = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16)
"""
AFTER = """
one = run(tf.distribute.OneDeviceStrategy("CPU:0"))
two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
for key in one[0]:
    np.testing.assert_allclose(one[0][key], two[0][key], rtol=1e-4, err_msg=key)
for a, b in zip(one[1], two[1], strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
print("SAME")
"""


def same_update(program, afterwards=""):
    """Asserts that two replicas end where one does.

    Args:
        program: Code that defines `run(strategy)`, which trains and returns the
            history and a list of arrays. `np`, `keras`, `layers`, `tf`, `kd` and
            `methods` are there, and `rows`: a batch of 16 rows of 5 numbers, of 4
            classes.
        afterwards: Code that runs when both have agreed.

    Returns:
        What the program has printed.
    """
    parts = [BEFORE, program, AFTER, afterwards]
    done = subprocess.run(
        [sys.executable, "-c", "".join(textwrap.dedent(part) for part in parts)],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert "SAME" in done.stdout and done.returncode == 0, done.stderr[-3000:]
    return done.stdout
