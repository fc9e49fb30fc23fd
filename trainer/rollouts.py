"""Responses sampled from the policy that is being trained."""
