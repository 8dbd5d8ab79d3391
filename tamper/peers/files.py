"""Programs of Debian that are only unpacked, never installed: scripts/apt.sh puts them under .cache."""

from pathlib import Path

from lab import AbsentError

from tamper.calls import ROOT

JOURNAL_REMOTE = ROOT / ".cache" / "journal-remote"
SYSLOG_NG = ROOT / ".cache" / "syslog-ng"


def find(what: str, *places: Path) -> Path:
    """The first that is there. Raises AbsentError."""
    for place in places:
        if place.exists():
            return place
    raise AbsentError(f"{what} is not here (scripts/apt.sh brings it on Debian)")


def libraries(root: Path) -> str:
    """LD_LIBRARY_PATH for what lies below `root`."""
    return ":".join(sorted({str(path.parent) for path in root.rglob("*.so*") if path.is_file()}))
