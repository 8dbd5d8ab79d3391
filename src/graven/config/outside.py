"""Sections about what is held outside: stamps of time authorities, and write-once copies.

Knobs are described as in `config.model`.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from graven.config.section import AnyPath, ClassName, Section

_Path = AnyPath
_StoreUrl = Annotated[str, Meta(pattern=r"\A(s3|file)://[^\x00-\x20]+\Z")]
_Endpoint = Annotated[str, Meta(pattern=r"\Ahttps?://[^\x00-\x20@]+\Z")]
_Region = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,40}\Z")]
_Profile = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f]{1,100}\Z")]


class AuthorityConfig(Section, frozen=True, kw_only=True):
    """A time authority (RFC 3161): it stamps checkpoints, and so bounds when each event was sequenced."""

    url: Annotated[
        str,
        Meta(
            pattern=r"\A(https?://[^\s@?#]+)?\Z",
            description="where it is asked, http(s)://HOST[:PORT][/PATH]; without it, it is asked by file: graven "
            "anchor export",
        ),
    ] = ""
    ca_file: Annotated[
        _Path | None,
        Meta(
            description="PEM file with the certificates its own may lead to, got from the authority by another way "
            "than its answers"
        ),
    ] = None
    policy: Annotated[
        str,
        Meta(
            pattern=r"\A([0-2](\.[0-9]{1,30}){1,30})?\Z",
            description="object identifier (dotted decimal) of the policy asked for; a stamp under another is refused",
        ),
    ] = ""
    interval_s: Annotated[
        int,
        Meta(
            ge=1,
            le=31 * 86_400,
            description="a log that grew is stamped this often; shorter brackets events closer, longer asks less",
        ),
    ] = 3_600
    timeout_ms: Annotated[
        int, Meta(ge=10, le=600_000, description="how long a whole answer is waited for; publishing never waits")
    ] = 10_000


class TimeConfig(Section, frozen=True, kw_only=True):
    """What anchors in time are held against, and when they are renewed."""

    clock_bound_ms: Annotated[
        int,
        Meta(
            ge=100,
            le=86_400_000,
            description="this host's clock and an anchor may disagree by so much; more is an alarm and an event",
        ),
    ] = 5_000
    renew_s: Annotated[
        int,
        Meta(
            ge=60,
            le=10 * 365 * 86_400,
            description="a log whose newest stamp is by a certificate that ends within this time is stamped anew, also "
            "if it did not grow",
        ),
    ] = 30 * 86_400


class RetentionConfig(Section, frozen=True, kw_only=True):
    """For how long what is copied to a write-once store is locked there: nobody can delete it before."""

    days: Annotated[
        int,
        Meta(ge=1, le=36_500, description="days for a class that has no number of its own"),
    ] = 365
    by_class: Annotated[
        dict[ClassName, Annotated[int, Meta(ge=1, le=36_500)]],
        Meta(
            description="days by class; a segment is locked for the longest of the classes in it, the tree for the "
            "longest of all"
        ),
    ] = field(default_factory=dict)


class WormConfig(Section, frozen=True, kw_only=True):
    """The write-once copy: a bucket with Object Lock, or a directory. `graven worm enable` sets it up."""

    store: Annotated[
        _StoreUrl | None, Meta(description="s3://BUCKET/PREFIX or file:///PATH; without it there is no copy")
    ] = None
    endpoint: Annotated[
        _Endpoint | None,
        Meta(description="where the bucket's store answers, if it is not AWS; credentials never stand in it"),
    ] = None
    region: Annotated[_Region | None, Meta(description="region of the bucket; else what the profile says")] = None
    profile: Annotated[
        _Profile | None,
        Meta(description="profile of the credentials; without it: AWS_ACCESS_KEY_ID and so on, or the machine's role"),
    ] = None
    credentials_file: Annotated[
        _Path | None, Meta(description="file (mode 0600) with the credentials, in the form AWS's tools have them")
    ] = None
    interval_s: Annotated[
        int,
        Meta(ge=1, le=3_600, description="seconds between two rounds of copying: what a lost host can cost the copy"),
    ] = 5
    open_lock_days: Annotated[
        int,
        Meta(
            ge=1,
            le=365,
            description="lock of frames whose segment is not copied whole yet, lengthened until it is",
        ),
    ] = 7
    follow: Annotated[
        Literal["serve", "apart"],
        Meta(description="who copies: a process `graven serve` starts, or `graven worm follow` in a unit of its own"),
    ] = "serve"
