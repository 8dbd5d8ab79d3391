"""Fixtures of the agent's tests."""

from server.conftest import server, shared_server

__all__ = ["server", "shared_server"]
