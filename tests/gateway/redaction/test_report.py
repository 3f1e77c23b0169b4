"""What the labelled set says stands in the documentation, and is as good as it was."""

from tests.redaction_set import report


def test_the_documented_recall_and_precision_are_those_of_the_labelled_set() -> None:
    assert report.written() == report.table(), "run python -m tests.redaction_set.report and look at what changed"


def test_every_south_african_id_number_is_found() -> None:
    counts = report.counted()
    assert counts.found["south_african", "id_number"] == counts.labels["south_african", "id_number"]


def test_the_set_is_large_enough_to_say_something() -> None:
    assert sum(len(report.sentences(name)) for name in report.SETS) >= 500
