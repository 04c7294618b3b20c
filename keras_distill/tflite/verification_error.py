"""What a converted model gets that is not what it was converted from."""


class VerificationError(ValueError):
    """A .tflite failed a check; the message names the check and its figure.

    Args:
        message: String, what was expected and what was found.
        check: String, the name of the check: one of `keras_distill.tflite.CHECKS`
            or `SCORER_CHECKS`, or `"recall"` or `"search"`, which
            `keras_distill.retrieval` adds.
    """

    def __init__(self, message, check):
        super().__init__(message)
        self.check = check
