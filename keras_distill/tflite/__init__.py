"""From Keras to .tflite files, and proof that they are the same networks."""

from keras_distill.tflite.colour_input import with_colour_input
from keras_distill.tflite.compressed import compressed
from keras_distill.tflite.convert import INPUT, MODES, OUTPUT, SIGNATURE, convert
from keras_distill.tflite.convert_detector import DETECT_SIGNATURE, convert_detector
from keras_distill.tflite.convert_scorer import (
    SCORE,
    SCORE_SIGNATURE,
    SCORER_MODES,
    convert_scorer,
)
from keras_distill.tflite.from_keras import check_mode
from keras_distill.tflite.metadata import add_metadata, read_files, read_metadata
from keras_distill.tflite.quantization_aware import (
    QuantizationAware,
    quantization_aware,
)
from keras_distill.tflite.tf_keras_twin import tf_keras_twin
from keras_distill.tflite.verification_error import VerificationError
from keras_distill.tflite.verify import CHECKS, verify
from keras_distill.tflite.verify_detector import DETECTOR_CHECKS, verify_detector
from keras_distill.tflite.verify_scorer import SCORER_CHECKS, verify_scorer

__all__ = [
    "CHECKS",
    "DETECTOR_CHECKS",
    "DETECT_SIGNATURE",
    "INPUT",
    "MODES",
    "OUTPUT",
    "QuantizationAware",
    "SCORE",
    "SCORER_CHECKS",
    "SCORER_MODES",
    "SCORE_SIGNATURE",
    "SIGNATURE",
    "VerificationError",
    "add_metadata",
    "check_mode",
    "compressed",
    "convert",
    "convert_detector",
    "convert_scorer",
    "quantization_aware",
    "read_files",
    "read_metadata",
    "tf_keras_twin",
    "verify",
    "verify_detector",
    "verify_scorer",
    "with_colour_input",
]
