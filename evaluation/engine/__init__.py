"""Scoring prompt-response pairs: fast together, independent of one another."""
