"""The doors that speak to shippers in their own protocols. `door` is what they share; each other file is one protocol.

What arrives becomes records (`graven.ingest.protocol`), the records events (`graven.ingest.pipeline`), and the events
go the one way in that there is: the writer's queue, its commit, its receipt.
"""
