"""One POST to somebody outside who may be slow, huge or lying: bounded in time and bytes, no redirects, no retries."""

import urllib3

from graven.runtime.timed_http import TimedPool, bounded

_PIECE_BYTES = 4096
WORDS_MAX = 200


class NoAnswer(Exception):
    """No answer that could be read; the text says why, in few words."""


def post_bounded(
    http: TimedPool, url: str, body: bytes, *, content_type: str, timeout_s: float, bytes_max: int
) -> tuple[int, bytes]:
    """(status, body). Raises NoAnswer: not reached, not whole within `timeout_s`, or longer than `bytes_max`."""
    try:
        with bounded(timeout_s, wire_bytes_max=2 * bytes_max + _PIECE_BYTES):
            response = http.request(
                "POST", url, body=body, headers={"Content-Type": content_type},
                timeout=urllib3.Timeout(total=timeout_s), retries=False, redirect=False, preload_content=False,
                decode_content=False,
            )  # fmt: skip
            answer = bytearray()
            try:
                while piece := response.read1(_PIECE_BYTES):
                    answer += piece
                    if len(answer) > bytes_max:
                        raise NoAnswer(f"an answer of more than {bytes_max} bytes")
            except NoAnswer:
                response.close()
                raise
            response.release_conn()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise NoAnswer(_told(error)) from None
    return response.status, bytes(answer)


def _told(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "cannot be reached"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return f"{type(error).__name__}: {str(error)[:WORDS_MAX]}"
