"""Errors that carry a sentence for a person."""


class RuleBroken(Exception):
    """A rule of the product refuses the change.

    ``message`` is one sentence that says what to do; ``field`` names the form field it belongs to, if any.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Unavailable(Exception):
    """A service this one depends on cannot be reached; the caller may try again."""
