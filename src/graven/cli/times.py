"""Times as people give them: a date, a moment, or a span from now."""

import re
from datetime import UTC, datetime

from graven.core.errors import BadInput
from graven.runtime.clock import US_PER_S

_SPAN = re.compile(r"([1-9][0-9]{0,5})(m|h|d)", re.ASCII)
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def parse_expiry(text: str, *, now_us: int) -> int:
    """`90d`, `12h`, `30m`, `2027-01-31` (its first moment, UTC) or RFC 3339, as µs since the epoch.

    Raises BadInput for anything else, and for what is over.
    """
    if match := _SPAN.fullmatch(text):
        return now_us + int(match[1]) * _SECONDS[match[2]] * US_PER_S
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"not a time: {text!r}", mend="90d, 12h, 2027-01-31, or 2027-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    expires_us = int(moment.timestamp()) * US_PER_S
    if expires_us <= now_us:
        raise BadInput(f"the expiry has passed: {text!r}", mend="give a time to come, or none")
    return expires_us
