"""Rows, text and the procedural world: everything a model is trained on, before it is a tensor."""
