"""Graven: a self-hosted, tamper-evident audit log."""
