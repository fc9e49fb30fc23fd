"""Policy-gradient formulas."""
