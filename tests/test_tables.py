"""The README's tables say what the algorithms declare."""

from algorithms import tables


def test_the_readme_has_the_tables_of_the_declarations() -> None:
    found = tables.README.read_text().partition(tables.BEGIN)[2].partition(tables.END)[0]
    assert found == tables.tables(), "the declarations have changed; please run: .venv/bin/python -m algorithms.tables"
