"""Until when an answer is of use: what is older than that is dropped before anything is reserved for it."""

import time
from datetime import datetime

HEADER = "X-LLM-Deadline"
KEY = "HTTP_X_LLM_DEADLINE"
# Nobody waits longer for a decision: a deadline further back tells of a clock that is wrong, not of a wait.
_BELIEVED = 30.0


def has_passed(text: str) -> bool:
    """Tell whether the deadline (RFC 3339) is over; one that cannot be read, or is long over, says nothing."""
    try:
        deadline = datetime.fromisoformat(text)
    except ValueError:
        return False
    return deadline.tzinfo is not None and 0 <= time.time() - deadline.timestamp() <= _BELIEVED
