"""Every interleaving with slices keeps the protocol's promises, and every fault seeded into the slices breaks one."""

import pytest

from tests.model.protocol import Protocol, explore
from tests.model.slices import FAULTS, SliceProtocol

TWO = Protocol(cap=5, ests=(2, 2), costs=(1, 2))  # one attempt on each of two workers
ONE = Protocol(cap=4, ests=(3, 3), costs=(1, 3), workers=1)  # two that draw from one slice, one after the other


@pytest.mark.parametrize(("plain", "size"), [(TWO, 4), (ONE, 4)])
def test_no_interleaving_passes_the_cap_loses_a_cost_or_leaves_a_slice(plain, size):
    states, wrong, steps = explore(SliceProtocol(plain, size))
    assert (wrong, steps) == ("", [])
    assert states > 1000


@pytest.mark.parametrize("fault", FAULTS)
def test_every_seeded_fault_of_the_slices_is_found(fault):
    found = [explore(SliceProtocol(plain, 4, fault)) for plain in (ONE, TWO)]
    assert any(wrong and steps for _, wrong, steps in found)
