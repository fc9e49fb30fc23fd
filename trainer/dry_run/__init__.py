"""What a recipe would do and need, found without doing it."""
