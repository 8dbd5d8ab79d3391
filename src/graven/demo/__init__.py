"""The demonstration: a small company's morning, put into a log, questioned, attacked and checked."""
