"""What a document proves to someone who trusts a key or follows a policy, and what several prove against each other.

    words.py       how verdicts and errors are spelled, for people and for programs
    documents.py   one file: told by its content, judged
    receipts.py    promises to producers
    several.py     files held against each other: forks, broken promises
    auditors.py    challenges, answers, statements
    signers.py     who vouches for a checkpoint
    verdict.py     what a check is given, and what it finds
    command.py     `graven-verify`, the stand-alone verifier: the wheel of packaging/verify

`graven check` and `graven-verify` are this room behind two command lines. It opens no socket, no log and no keyring. It
imports `core`, the signature verifier and a few modules that need nothing but the standard library, so that the wheel
has one dependency, `cryptography`.
"""
