"""How much a network computes for one image."""

import math


def multiply_adds(model, image_shape):
    """Multiply-adds of the convolutions and matrix products of a model.

    They are counted where they are run: in the graph that TensorFlow makes of one call
    on one image, whatever layers or nested models it came from. What is done element
    by element (biases, activations, normalisation, pooling) is left out, as is usual.

    Args:
        model: A `keras.Model` that takes images `(batch, H, W, C)`.
        image_shape: `(H, W, C)`.

    Returns:
        Integer; `None` where a product has no fixed shape.
    """
    import tensorflow as tf

    @tf.function(autograph=False)
    def call(images):
        return model(images, training=False)

    # So that functions within (Keras compiles grouped convolutions) are written out
    # in this graph, and not called from it.
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        graph = call.get_concrete_function(tf.TensorSpec((1, *image_shape))).graph
    finally:
        tf.config.run_functions_eagerly(eagerly)
    counts = [_count(op) for op in graph.get_operations()]
    return None if None in counts else sum(counts)


def _count(op):
    """Multiply-adds of one operation; `None` where a shape is not known."""
    if op.type not in ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"):
        return 0
    left, right = (tensor.shape for tensor in op.inputs[:2])
    output = op.outputs[0].shape
    if not all(some.is_fully_defined() for some in (left, right, output)):
        return None
    if op.type == "Conv2D":  # kernel (h, w, channels in of a group, channels out)
        terms = math.prod(right[:3])
    elif op.type == "DepthwiseConv2dNative":  # kernel (h, w, channels, multiplier)
        terms = math.prod(right[:2])
    else:
        transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        terms = left[-2] if transposed else left[-1]
    return math.prod(output) * terms
