"""Devices for backends."""

import pytest


@pytest.fixture
def device(device, name):
    """Each device on which the backend of that name computes."""
    if name == "native" and device.type != "cpu":
        pytest.skip("it computes on the CPU")
    if name == "keops" and device.type == "meta":
        pytest.skip("KeOps has no other devices than torch really has")
    return device
