"""The runtimes of a device, each in an environment of its own."""

import pytest

from tests.device.environments import REQUIREMENTS, environment


@pytest.fixture(scope="module", params=REQUIREMENTS)
def runtime(request):
    """Name of a runtime."""
    return request.param


@pytest.fixture(scope="module")
def python(runtime):
    """Path of a Python that has numpy, Pillow and this runtime."""
    return environment(runtime)
