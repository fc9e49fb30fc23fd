"""Watching what scorers say in production: a sample, its drift, its agreement with an oracle, and alerts."""
