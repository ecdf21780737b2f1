"""The table that the tests of the images end with."""

from tests.images.summary import table


def test_a_row_for_each_check_and_a_column_for_each_algorithm() -> None:
    reports = [
        ("tests/images/test_image.py::test_it_trains[yew-0]", "", 2.0),  # its fixtures
        ("tests/images/test_image.py::test_it_trains[yew-0]", "passed", 1.0),
        ("tests/images/test_image.py::test_it_trains[yew-1234]", "skipped", 0.0),
        ("tests/images/test_image.py::test_it_trains[stone_pine-0]", "passed", 4.0),
        ("tests/images/test_image.py::test_it_trains[stone_pine-1234]", "failed", 4.4),
        ("tests/images/test_image.py::test_it_serves[fir]", "skipped", 0.0),
        ("tests/images/test_image.py::test_it_serves[stone_pine]", "error", 0.0),
        ("tests/images/test_hosts.py::test_nobody_comes", "passed", 5.0),
    ]
    assert table(reports, ["fir", "stone_pine", "yew"]) == [
        "| check | fir | stone_pine | yew | all |",
        "| --- | --- | --- | --- | --- |",
        "| it trains |  | failed | passed |  |",
        "| it serves | skipped | failed |  |  |",
        "| nobody comes |  |  |  | passed |",
        "| seconds | 0 | 8 | 3 | 5 |",
    ]
