"""Sampling responses at many temperatures."""
