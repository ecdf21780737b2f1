"""What can be wrong with the bytes or the media type that somebody hands us."""


class FormatError(ValueError):
    """The bytes are not what their media type says.

    `problem` is one sentence without its place; `row` is the 1-based row (CSV: line, RecordIO: record) inside the file
    or body and `column` the 1-based column, where they are known. Whoever knows the file or channel puts that in front.
    """

    def __init__(self, problem: str, *, row: int | None = None, column: int | None = None) -> None:
        super().__init__(problem, row, column)
        self.problem = problem
        self.row = row
        self.column = column

    def __str__(self) -> str:
        place = [f"row {self.row}"] if self.row is not None else []
        if self.column is not None:
            place.append(f"column {self.column}")
        return f"{', '.join(place)}: {self.problem}" if place else self.problem


class UnknownMediaTypeError(ValueError):
    """No format has this media type, or a parameter of it makes no sense (HTTP 415)."""


class NotAcceptableError(ValueError):
    """No offered format satisfies the Accept header (HTTP 406)."""
