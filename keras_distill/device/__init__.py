from keras_distill.device.read_image import read_image

__all__ = ["read_image"]
