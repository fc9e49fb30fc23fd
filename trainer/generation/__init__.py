"""Sampling from a policy in this process, so that which noise a response met depends on the response alone."""
