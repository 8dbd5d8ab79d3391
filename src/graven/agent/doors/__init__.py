"""Doors of an agent: what programs on the host send to it, by syslog and by HTTP, on loopback or a Unix socket.

    bytes → messages, records (`ingest.protocol`) → inlet, bounded → the agent's loop → spool → the answer

The doors run on one thread of their own, asynchronously; they judge nothing and know no network but this host's.
"""
