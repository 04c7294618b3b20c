"""Two replicas make the update of one."""

from tests.two_replicas import same_update


def test_two_replicas_make_the_update_of_one():
    program = """
        data = rows.repeat(3)

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
    """
    afterwards = """
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
    printed = same_update(program, afterwards)
    # Keras would count it once for each replica.
    assert "must return one value a row" in printed


def test_so_they_do_where_batch_normalisation_is_frozen():
    """Where it moves, each replica would see the statistics of its own rows."""
    program = """
        data = rows.repeat(3)

        def run(strategy):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                x = inputs = keras.Input((5,))
                x = layers.BatchNormalization()(layers.Dense(7, "tanh")(x))
                student = keras.Model(inputs, layers.Dense(4, name="features")(x))
                student = kd.models.frozen_statistics(student)
                weights = np.random.default_rng(1)
                student.set_weights(
                    [weights.uniform(0.5, 2, w.shape) for w in student.get_weights()]
                )
                distiller = kd.Distiller(student)
                distiller.compile(keras.optimizers.SGD(0.05), kd.losses.ProxyNCA(4))
                for v in distiller.trainable_variables:
                    v.assign(weights.uniform(0.5, 2, v.shape))
            history = distiller.fit(data, verbose=0).history
            return history, [v.numpy() for v in distiller.variables]
    """
    same_update(program)
