"""Devices for backends."""

import pytest

from tests.elsewhere import skip_where_it_cannot


@pytest.fixture
def device(device, name):
    """Each device on which the backend of that name computes."""
    skip_where_it_cannot(name, device)
    return device
