"""Sending events to a Graven server, and believing nothing it answers until it is checked.

    client.py     `Client`: what a program uses
    outgoing.py   from what a program gives to the exact bytes that are sent, each event with an id
    transport.py  one HTTP exchange, bounded in time and bytes
    refusals.py   what the server refuses, as the three branches of errors
    retry.py      how long to wait before asking again
    reading.py    what a client asks a log about itself, proved where it can be
    answer.py     an answer, believed because its receipt opens to the bytes that were sent
    receipts.py   answers and sent bytes on disk: kept promises, and the evidence of a broken one
    outbox.py     the bounded queue behind `send`
    sender.py     the thread that empties it

No key is taken from the server and nothing is trusted on first use: the log's verifier key comes from whoever runs the
program. Not here: spooling to disk. What `send` was given and the server has not answered for is lost with the process.
"""

from graven.client.answer import Answer, WrongReceipt
from graven.client.client import Backlog, Client, ReceiptNotKept
from graven.client.outgoing import with_ids
from graven.client.reading import Proved
from graven.client.receipts import KeptReceipt, ReceiptStore, read_receipts
from graven.client.transport import NoAnswer

__all__ = [
    "Answer",
    "Backlog",
    "Client",
    "KeptReceipt",
    "NoAnswer",
    "Proved",
    "ReceiptNotKept",
    "ReceiptStore",
    "WrongReceipt",
    "read_receipts",
    "with_ids",
]
