"""A C2SP tlog-witness: it remembers one checkpoint of each log, and cosigns only what that tree grows into.

    judge.py      the decision, pure: may this checkpoint follow the one we cosigned?
    cosigner.py   the witness's two keys, Ed25519 and ML-DSA-44
    store.py      SQLite: the keys of the logs, and the newest cosigned checkpoint of each
    evidence.py   refused checkpoints that stand against a cosigned one, kept as files
    witness.py    one request, from its bytes to its answer
    serve.py      HTTP

This room stands alone: it knows the formats (`core`), the signature verifier (`keys`) and the machine (`runtime`), and
nothing of Graven's own log. It witnesses any log that speaks C2SP.
"""
