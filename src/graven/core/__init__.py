"""The ground floor: what an auditor needs, and nothing else.

Pure functions over bytes and integers, on the standard library alone. No clock, no disk, no network. Signature
verification is handed in (`core.note.VerifySignature`). Event bytes are opaque here.
"""
