"""What a document proves to someone who trusts a key or follows a policy, and what several prove against each other.

    words.py       how verdicts and errors are spelled, for people and for programs
    documents.py   one file: told by its content, judged
    receipts.py    promises to producers
    several.py     files held against each other: forks, broken promises
    verdict.py     what a check is given, and what it finds

This is what `graven check` does. It opens no socket, no log and no keyring, and imports `core`, the signature verifier
and a few modules that need nothing but the standard library.
"""
