"""Promises to producers: receipts, their certificates, and whole answers to an append."""

from collections.abc import Mapping

from graven.check.verdict import Good, Trust
from graven.check.words import counted
from graven.core.document import as_list, as_number, as_object, as_text, parse_document
from graven.core.errors import BadInput, Disproved
from graven.core.receipt import Receipt, open_certificate, open_receipt, verify_opened
from graven.core.spelling import encode_base64
from graven.keys.signature import verify_signature

ANSWER_BYTES_MAX = 256 << 20
ANSWER, RECEIPT, CERTIFICATE = "answer", "receipt", "certificate"


def check_receipt(data: bytes, trust: Trust) -> Good:
    return _receipt_alone(Good(RECEIPT), data, trust)


def check_certificate(data: bytes, trust: Trust) -> Good:
    certificate = open_certificate(data, trust.log_keys, verify_signature)
    good = Good(CERTIFICATE)
    good.rows = [
        (
            "proved",
            f"{certificate.origin} lets this key sign its receipts for sizes {certificate.first} to {certificate.last}",
        ),
        ("key", certificate.vkey),
    ]
    good.fields = {
        "origin": certificate.origin,
        "vkey": certificate.vkey,
        "first": certificate.first,
        "last": certificate.last,
    }
    return good


def check_answer(data: bytes, trust: Trust) -> Good:
    """The answer to an append: one request, or (`requests`) those of a file that took several."""
    answer = as_object(
        parse_document(data, max_bytes=ANSWER_BYTES_MAX, what="an answer"), "answer", keys=("receipt",), more=None
    )
    good = Good(ANSWER)
    requests = [answer]
    if "requests" in answer:
        listed = as_list(answer["requests"], "requests", count_max=1 << 20)
        requests = [
            as_object(one, f"requests[{number}]", keys=("receipt",), more=None) for number, one in enumerate(listed)
        ]
    if not all("opened" in one for one in requests):
        if trust.sent is not None:
            raise BadInput(
                "the answer does not open its receipt, so what was sent cannot be compared",
                mend="append with --receipt full (over HTTP: ?receipt=full), and keep the answer",
            )
        return _receipt_alone(good, as_text(answer["receipt"], "receipt").encode(), trust)
    sent = trust.sent
    at = 0
    for number, one in enumerate(requests):
        if sent is None:
            opened = as_object(one["opened"], f"requests[{number}].opened", keys=("certificate",), more=None)
            certificate = as_text(opened["certificate"], "opened.certificate").encode()
            receipt = open_receipt(
                as_text(one["receipt"], "receipt").encode(), certificate, trust.log_keys, verify_signature
            )
        else:
            count = _count(one)
            receipt = verify_opened(
                one, list(sent[at : at + count]), trust.log_keys, verify_signature, normalised=trust.normalised
            )
            at += count
        good.receipts.append(receipt)
    if sent is not None and at != len(sent):
        raise Disproved(
            "the answer does not account for every event that was sent", expected=str(len(sent)), found=str(at)
        )
    _add_receipt(good, good.receipts[-1])
    if sent is None:
        good.rows.append(("not shown", "that the log sealed what was sent: give it with --events FILE"))
    else:
        good.rows.append(("sealed", f"exactly the {counted(len(sent), 'event')} sent, byte for byte"))
    good.fields["events_compared"] = None if sent is None else len(sent)
    return good


def _count(answer: Mapping[str, object]) -> int:
    """How many events of a request an answer accounts for."""
    duplicates = as_list(answer.get("duplicates"), "duplicates", count_max=1 << 20)
    return as_number(answer.get("accepted"), "accepted") + len(duplicates)


def _receipt_alone(good: Good, note: bytes, trust: Trust) -> Good:
    if trust.certificate is None:
        raise BadInput(
            "a receipt is signed by a key that the log certifies, and the certificate is not here",
            mend="--certificate FILE (`opened.certificate` of an answer with its receipt in full)",
        )
    receipt = open_receipt(note, trust.certificate, trust.log_keys, verify_signature)
    good.receipts.append(receipt)
    _add_receipt(good, receipt)
    return good


def _add_receipt(good: Good, receipt: Receipt) -> None:
    good.rows = [
        ("proved", f"{receipt.origin} promised a tree of {counted(receipt.size, 'entry', 'entries')}"),
        ("root", encode_base64(receipt.root)),
        ("note", "a promise: give the checkpoint of this size beside it to see whether it was kept"),
    ]
    good.fields |= {"origin": receipt.origin, "size": receipt.size, "root": encode_base64(receipt.root)}
