"""ScanCode's index takes seconds and a gigabyte to load: once for all tests."""

import pytest

from licensing.policy import Policy
from licensing.scancode import ScanCode


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
