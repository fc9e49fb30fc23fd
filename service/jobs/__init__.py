"""Recorded executions of recipes: queued, claimed, watched, finished."""

from service.jobs.queue import cancel, resume, submit

__all__ = ["cancel", "resume", "submit"]
