"""What the sections of an agent's configuration share: strictness, and how names, types and paths are spelled."""

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["FilePath", "Label", "Name", "Section", "Type"]

_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z"
Name = Annotated[str, Meta(pattern=_NAME)]
Type = Annotated[str, Meta(pattern=r"\A[a-z0-9._-]{0,64}\Z")]
FilePath = Annotated[str, Meta(pattern=r"\A[^\x00]+\Z")]
Label = Annotated[str, Meta(max_length=1024)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: an unknown key is refused."""
