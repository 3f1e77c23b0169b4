"""Every interleaving of the budget's protocol at small sizes keeps its promises, and every seeded fault breaks one."""

import pytest

from tests.model.protocol import FAULTS, Protocol, explore, with_fault

SMALL = Protocol(cap=4, ests=(3, 2, 2), costs=(3, 1, 2))


@pytest.mark.parametrize(
    "protocol",
    [
        SMALL,
        Protocol(cap=5, ests=(2, 3), costs=(1, 3), crashes=2, naps=2),
        Protocol(cap=3, ests=(3, 3), costs=(2, 3), crashes=2, naps=1),
    ],
)
def test_no_interleaving_passes_the_cap_loses_a_cost_or_leaves_a_hold(protocol):
    states, wrong, steps = explore(protocol)
    assert (wrong, steps) == ("", [])
    assert states > 1000


@pytest.mark.parametrize("fault", FAULTS)
def test_every_seeded_fault_is_found(fault):
    _, wrong, steps = explore(with_fault(SMALL, fault))
    assert wrong != ""
    assert steps != []
