"""Recipes that evaluate: stress tests and audits."""
