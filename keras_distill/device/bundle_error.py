"""What a bundle is when it is not what its manifest says."""


class BundleError(ValueError):
    """A bundle cannot be trusted: the message names the file and what is wrong."""
