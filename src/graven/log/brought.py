"""Anchors that come by file, for logs that no authority or witness can reach: judged before they are taken.

    a TimeStampResp, or a bare token   over a checkpoint this log published: the one given, else the one it is over
    a cosigned checkpoint              of this log, with good lines by witnesses of a policy it was run with
    an anchored checkpoint             `graven-anchor/v1`, as another copy of this log keeps them

The checkpoint must be signed by each of the log's keys and be one of this very tree; a stamp must lead to a configured
authority's root and, where the request is given, answer it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from graven.anchor.authority import AuthoritySettings
from graven.anchor.policies import kept_witness_keys
from graven.core.anchored import COSIGNATURE, FIRST_LINE, RFC3161, Anchored, parse_anchor
from graven.core.checkpoint import SignedCheckpoint
from graven.core.errors import BadInput, Disproved
from graven.core.handover import Tenures
from graven.core.merkle import compact_range_at
from graven.core.note import format_signature, parse_note
from graven.core.tile import tile_nodes
from graven.core.timestamp import Stamp, verify_token
from graven.core.timestamp_request import Request, is_response, parse_request, parse_response
from graven.core.timestamp_token import parse_token
from graven.core.x509 import NotTrusted
from graven.keys.signature import verify_signature
from graven.log.history import read_history
from graven.log.tail import disk_fetch
from graven.runtime.clock import US_PER_S


@dataclass(frozen=True, slots=True)
class Brought:
    """A judged anchor. `stamp` None: cosignatures, whose `lines` are the good ones."""

    anchored: Anchored
    by: str
    time_us: int
    stamp: Stamp | None
    lines: tuple[str, ...] = ()


def judge_brought(
    data: bytes,
    *,
    directory: Path,
    tenures: Tenures,
    published: SignedCheckpoint,
    authorities: Sequence[AuthoritySettings],
    request: bytes | None = None,
    checkpoint: bytes | None = None,
) -> Brought:
    """What a file brings. `request` is the TimeStampReq it answers, `checkpoint` the note it is over, where known.

    Raises:
        BadInput: it is no anchor, or nothing says what it is over. Disproved: it is not good, or of another tree.
    """
    asked = parse_request(request) if request is not None else None
    if data.startswith(FIRST_LINE.encode() + b"\n"):
        anchored = parse_anchor(data)
        if anchored.token is None:
            return _judge_cosigned(anchored.checkpoint, directory, tenures, published)
        return _judge_token(anchored.token, anchored.checkpoint, directory, tenures, published, authorities, asked)
    if data[:1] == b"\x30" and data[1:2] >= b"\x80":  # a note that begins with the digit 0 goes on otherwise
        token = parse_response(data) if is_response(data) else data
        note = (
            checkpoint if checkpoint is not None else _find_note(directory, published, parse_token(token).info.imprint)
        )
        return _judge_token(token, note, directory, tenures, published, authorities, asked)
    return _judge_cosigned(data, directory, tenures, published)


def _judge_token(
    token: bytes,
    note: bytes,
    directory: Path,
    tenures: Tenures,
    published: SignedCheckpoint,
    authorities: Sequence[AuthoritySettings],
    request: Request | None,
) -> Brought:
    _open_own(note, directory, tenures, published)
    if parse_token(token).info.digest != "sha256":
        raise BadInput("a time stamp by another hash than SHA-256", mend="ask with what `graven anchor export` wrote")
    refusal: NotTrusted | None = None
    for authority in authorities:
        try:
            stamp = verify_token(
                token, note, roots=authority.roots, verify=verify_signature,
                nonce=request.nonce if request is not None else None, policy=authority.policy,
            )  # fmt: skip
        except NotTrusted as error:
            refusal = error
            continue
        return Brought(Anchored(RFC3161, token, note), authority.name, stamp.time_us, stamp)
    raise refusal or BadInput(
        "no time authority is configured, so nobody's stamp is believed", mend="[authorities.NAME] ca_file = FILE"
    )


def _judge_cosigned(note: bytes, directory: Path, tenures: Tenures, published: SignedCheckpoint) -> Brought:
    signed = _open_own(note, directory, tenures, published)
    witnesses = kept_witness_keys(directory)
    good = [one for one in signed.signed if one.key in witnesses and one.time is not None]
    if not good:
        raise Disproved(
            "nobody the log knows as a witness cosigned this checkpoint",
            mend="run the log once with the policy that names them: [publish] witness_policy",
        )
    names = {(one.key.name, one.key.id) for one in good}
    lines = tuple(format_signature(line) for line in parse_note(note).signatures if (line.name, line.key_id) in names)
    newest = max(good, key=lambda one: one.time or 0)
    return Brought(Anchored(COSIGNATURE, None, note), newest.key.name, (newest.time or 0) * US_PER_S, None, lines)


def _open_own(note: bytes, directory: Path, tenures: Tenures, published: SignedCheckpoint) -> SignedCheckpoint:
    """A checkpoint of this log's own tree. Raises BadInput, Disproved."""
    signed = tenures.open(note, verify_signature, cosigners=kept_witness_keys(directory), only_known=True)
    head, tree = signed.checkpoint, published.checkpoint
    if not 1 <= head.size <= tree.size:
        raise BadInput(f"a checkpoint of {head.size} entries; this log has published {tree.size}")
    root = compact_range_at(tile_nodes(disk_fetch(directory / "log"), tree.size), head.size).root()
    if root != head.root:
        raise Disproved("the checkpoint is of another tree than this log's", expected=root.hex(), found=head.root.hex())
    return signed


def _find_note(directory: Path, published: SignedCheckpoint, imprint: bytes) -> bytes:
    for note in _notes(directory, published):
        if sha256(note).digest() == imprint:
            return note
    raise BadInput(
        "the time stamp is over no checkpoint that is kept here", mend="--checkpoint FILE, the note it is over"
    )


def _notes(directory: Path, published: SignedCheckpoint) -> Iterator[bytes]:
    yield published.data
    for _, note in read_history(directory / "checkpoints"):
        yield note
