"""For how long what is locked (docs/configuration.md, [retention])."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Retention:
    """For how many days the objects of a class are locked; `open_days` is the short lock of what is soon replaced."""

    days: int = 365
    by_class: Mapping[str, int] = field(default_factory=dict)
    open_days: int = 7

    def of(self, classes: Iterable[str]) -> int:
        """The longest of these classes."""
        return max((self.by_class.get(name, self.days) for name in classes), default=self.days)

    @property
    def tree(self) -> int:
        """Tiles, checkpoints and what else belongs to all classes: as long as the longest."""
        return max(self.days, *self.by_class.values()) if self.by_class else self.days
