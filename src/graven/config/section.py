"""What every section of the configuration is made of."""

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["AnyPath", "ClassName", "Section"]

ClassName = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")]
AnyPath = Annotated[str, Meta(pattern=r"\A[^\x00]+\Z")]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass
