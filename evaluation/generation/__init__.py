"""Sampling responses at many temperatures, so that which noise a response met depends on the response alone."""
