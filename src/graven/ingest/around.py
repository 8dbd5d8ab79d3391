"""What surrounds a record, as labels of its events, within bounds."""

from collections.abc import Mapping

from graven.ingest.record import AROUND_MAX

__all__ = ["Around", "Labels"]

_KEY_CHARS_MAX = 128
_VALUE_CHARS_MAX = 1024
_PASSING = ("time", "file.")  # says how a record came, not what it is; told of records without an id only


class Labels:
    """`all` of it; `lasting`, without what says only how the record came; `time`, of the envelope, or ""."""

    __slots__ = ("all", "lasting", "time")

    def __init__(self, said: Mapping[str, str]) -> None:
        entries = list(said.items())[:AROUND_MAX] if len(said) > AROUND_MAX else said.items()
        self.all = [(key[:_KEY_CHARS_MAX], value[:_VALUE_CHARS_MAX]) for key, value in entries]
        self.lasting = [entry for entry in self.all if not entry[0].startswith(_PASSING)]
        self.time = said.get("time", "")


_NO_LABELS = Labels({})


class Around:
    """The labels of the records of one run. Most of a request's share what surrounds them: it is read once."""

    def __init__(self) -> None:
        self._of: Mapping[str, str] | None = None
        self._labels = _NO_LABELS

    def labels(self, said: Mapping[str, str]) -> Labels:
        if not said:
            return _NO_LABELS
        if said is not self._of:
            self._of, self._labels = said, Labels(said)
        return self._labels
