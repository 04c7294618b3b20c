"""From Keras to .tflite files, and proof that they are the same networks."""

from keras_distill.tflite.convert import INPUT, MODES, OUTPUT, SIGNATURE, convert
from keras_distill.tflite.convert_scorer import (
    SCORE,
    SCORE_SIGNATURE,
    SCORER_MODES,
    convert_scorer,
)
from keras_distill.tflite.verification_error import VerificationError
from keras_distill.tflite.verify import CHECKS, verify
from keras_distill.tflite.verify_scorer import SCORER_CHECKS, verify_scorer

__all__ = [
    "CHECKS",
    "INPUT",
    "MODES",
    "OUTPUT",
    "SCORE",
    "SCORER_CHECKS",
    "SCORER_MODES",
    "SCORE_SIGNATURE",
    "SIGNATURE",
    "VerificationError",
    "convert",
    "convert_scorer",
    "verify",
    "verify_scorer",
]
