"""Write-once copies: what it takes to rebuild and verify a log, in a store where nothing can be changed for a time.

    layout    which object has which name, and how long it is kept          (docs/format.md, section 21)
    store     the seam to a store; s3 and folder implement it
    material  what of a log's directory is to be copied, between a cursor and now
    follow    the follower: rounds of copying, its cursor, its alarms
    verify    the copy verified by itself, streaming (tree, journal)
    doctor    every forbidden call, tried on probe objects

No key is ever copied, and none is needed.
"""
