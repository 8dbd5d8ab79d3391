"""An auditor outside of the log: it follows what a log publishes, keeps a copy, and needs neither key nor event.

    site.py       where published files come from: HTTP, or a folder
    tree.py       a tree that grows, tile by tile, in bounded memory
    mirror.py     the copy on disk: derived again from the bundles, resumed after any end
    evidence.py   two signed trees that cannot both be true, kept as files that convict anywhere
    follow.py     one round: checkpoint, quorum, consistency, copy, cadence, peers
    stamps.py     the time stamps that the log shows
    statement.py  what was checked, signed once a day
    alarm.py      webhook and metrics
    serve.py      the copy, served read-only
    promises.py   receipts against the tree that is published today

This room stands alone: it knows the formats (`core`), the signature verifier (`keys`) and the machine (`runtime`), and
nothing of Graven's own log. It follows any log with C2SP tiles whose entries have 32 bytes.
"""
