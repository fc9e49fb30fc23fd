"""Studies of published claims: their chains of recipes, what these measured, and the word that each claim gets."""
