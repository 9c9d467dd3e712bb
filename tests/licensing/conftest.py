"""ScanCode's index takes seconds and a gigabyte to load: once for all tests."""

import pytest
from hypothesis import HealthCheck, settings

from licensing.policy import Policy
from licensing.scancode import ScanCode

settings.register_profile("licensing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("licensing")


@pytest.fixture(scope="session")
def scancode():
    adapter = ScanCode()
    adapter.load()
    return adapter


@pytest.fixture(scope="session")
def license_text(scancode):
    """Text of a license of ScanCode's collection, by its key."""
    from licensedcode.cache import get_licenses_db

    return lambda key: get_licenses_db()[key].text


@pytest.fixture(scope="session")
def policy():
    return Policy.load()
