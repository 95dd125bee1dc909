"""How lines of the log are written."""

import logging

from portal.lib.secrets import without_secrets


class Formatter(logging.Formatter):
    """One line for each message whatever is in it, so that nobody writes lines of their own; no secret of ours.

    A traceback keeps its lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the library's name
        """Return the line with all that cannot be printed written as an escape."""
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(map(_printable, line))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and what belongs to it."""
        return without_secrets(super().format(record))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
