"""How one time authority is doing, and when it is to be asked again: at its interval, or after a pause that doubles."""

import time
from dataclasses import dataclass

from graven.anchor.authority import AuthoritySettings, TimeAuthority
from graven.anchor.stored import StoredName
from graven.core.timestamp import Stamp
from graven.log import acts
from graven.runtime.clock import US_PER_S

RETRY_S = 30.0
RETRY_S_MAX = 600.0


@dataclass(slots=True)
class AuthorityState:
    """`size`, `time_us`, `expires_us`, `file` are of its newest stamp, `size` of the tree under it."""

    authority: TimeAuthority
    size: int = -1
    time_us: int = 0
    expires_us: int = 0
    file: str = ""
    next_s: float = 0.0
    failures: int = 0
    since_us: int = 0
    why: str = ""
    stamps: int = 0
    outages: int = 0
    renewed_s: float | None = None
    demanded_s: float | None = None
    renewing_us: int = 0

    @property
    def settings(self) -> AuthoritySettings:
        return self.authority.settings

    def stamped(self, stamp: Stamp, stored: StoredName, now_us: int) -> None:
        """`stamp` is its newest, kept in `stored`."""
        self.size, self.time_us, self.expires_us = stored.size, stamp.time_us, stamp.expires_us
        self.file = stored.path
        # After a restart an authority is due when its interval has passed since its newest stamp, by this host's clock;
        # the future counts as now, or a clock that is set back would keep it from ever being asked.
        age_s = max(0.0, (now_us - stamp.time_us) / US_PER_S)
        self.next_s = time.monotonic() + max(0.0, self.settings.interval_s - age_s)

    def failed(self, why: str, now_us: int) -> bool:
        """It gave no stamp. Whether this begins an outage."""
        self.failures += 1
        self.why = why
        pause_s = min(RETRY_S * 2 ** min(self.failures - 1, 10), RETRY_S_MAX, self.settings.interval_s)
        self.next_s = time.monotonic() + pause_s
        if self.failures > 1:
            return False
        self.outages += 1
        self.since_us = now_us
        return True

    def trouble(self, now_us: int, *, renew_us: int) -> str | None:
        """What is worth a look, in one line."""
        if self.failures:
            return f"no stamp since {acts.rfc3339(self.since_us)}: {self.why}"
        if self.expires_us and self.expires_us - now_us < renew_us:
            return f"the certificate of its newest stamp ends {acts.rfc3339(self.expires_us)}"
        return None

    def row(self, now_us: int, *, renew_us: int) -> dict[str, object]:
        """As status tells it."""
        return {
            "name": self.settings.name,
            "url": self.settings.url or None,
            "size": self.size if self.size >= 0 else None,
            "time": acts.rfc3339(self.time_us) if self.time_us else None,
            "expires": acts.rfc3339(self.expires_us) if self.expires_us else None,
            "stamps": self.stamps,
            "failures": self.failures,
            "outages": self.outages,
            "trouble": self.trouble(now_us, renew_us=renew_us),
        }
