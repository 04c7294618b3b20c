"""Two replicas make the update of one."""

import os
import subprocess
import sys
import textwrap


def test_two_replicas_make_the_update_of_one():
    program = """
        import numpy as np, keras, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        import keras_distill as kd
        from keras_distill import methods
        from keras import layers

        rng = np.random.default_rng(0)
        images = rng.uniform(-1, 1, (16, 5)).astype("f4")
        labels = np.tile(np.arange(4), 4).astype("i4")
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16).repeat(3)

        def net(*widths):
            x = inputs = keras.Input((5,))
            for width in widths:
                x = layers.Dense(width, "tanh", kernel_regularizer="l2")(x)
            return keras.Model(inputs, layers.Identity(name="features")(x))

        def run(strategy):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                student = net(7, 4)
                # Another order of creation must not give another start.
                weights = np.random.default_rng(1)
                student.set_weights(
                    [weights.normal(size=w.shape) for w in student.get_weights()]
                )
                branches = kd.S2SD((6,), 3.0, 2.0, 1.0, 1, "avg")
                terms = [methods.RelationalKL(name="kl"), branches]
                distiller = kd.Distiller(student, terms, teacher=net(9))
                loss = kd.losses.ProxyNCA(4)
                distiller.compile(keras.optimizers.SGD(0.05), loss)
                for v in distiller.variables + distiller.teacher.variables:
                    if v.dtype == "float32" and v.shape.rank:
                        v.assign(weights.normal(size=v.shape))
            history = distiller.fit(data, verbose=0).history
            return history, [v.numpy() for v in distiller.student.variables] + [
                v.numpy() for v in distiller.trainable_variables
            ]

        one = run(tf.distribute.OneDeviceStrategy("CPU:0"))
        two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
        for key in one[0]:
            np.testing.assert_allclose(one[0][key], two[0][key], rtol=1e-4, err_msg=key)
        for a, b in zip(one[1], two[1]):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        print("SAME")
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            distiller = kd.Distiller(net(4))
            scalar = lambda y_true, y_pred: tf.reduce_mean(y_pred)
            distiller.compile("sgd", scalar)
        try:
            distiller.fit(data, verbose=0)
        except ValueError as refused:
            print(refused)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert "SAME" in done.stdout, done.stderr[-3000:]
    # Keras would count it once for each replica.
    assert "must return one value a row" in done.stdout
