"""From a Keras embedder to a .tflite file, and proof that it is the same embedder."""

from keras_distill.tflite.convert import INPUT, MODES, OUTPUT, SIGNATURE, convert
from keras_distill.tflite.verification_error import VerificationError
from keras_distill.tflite.verify import CHECKS, verify

__all__ = [
    "CHECKS",
    "INPUT",
    "MODES",
    "OUTPUT",
    "SIGNATURE",
    "VerificationError",
    "convert",
    "verify",
]
