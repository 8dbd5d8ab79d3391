"""Honest disasters: the operator has done no wrong, and nobody may be able to say so.

Each story is acted out on a live log of its own, with the remedy that docs/operations.md names. Afterwards everything
that anybody outside has kept is held against the log: nothing may convict it.
"""

from tamper.disasters import outside, own
from tamper.disasters.judge import Story, act_out

ALL: tuple[Story, ...] = (*own.STORIES, *outside.STORIES)

__all__ = ["ALL", "Story", "act_out"]
