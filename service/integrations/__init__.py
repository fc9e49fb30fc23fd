"""Reward functions for other trainers, which ask a server for their scores; which one, the environment says."""
