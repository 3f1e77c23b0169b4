"""Figures as people read them."""

import pytest

from prompts.pictures import likelihood, said


@pytest.mark.parametrize(
    ("metric", "value", "told"),
    [
        ("cost", 32_949.6, "$0.000033"),
        ("cost", 32_849.6, "$0.0000328"),
        ("cost", 1_234_567_890.0, "$1.23"),
        ("cost", 5.4, "$0.000000005"),
        ("cost", -950.0, "−$0.00000095"),
        ("errors", 0.0125, "1.2 %"),
        ("latency", 1234.5, "1,234 ms"),
        ("feedback", -0.5, "−0.50"),
    ],
)
def test_figures_have_as_many_digits_as_say_something(metric, value, told):
    assert said(metric, value) == told


@pytest.mark.parametrize(("share", "told"), [(1.0, "100 %"), (0.314, "31 %"), (0.0512, "5.1 %"), (0.00004, "0.004 %")])
def test_a_likelihood_is_never_in_powers_of_ten(share, told):
    assert likelihood(share) == told
