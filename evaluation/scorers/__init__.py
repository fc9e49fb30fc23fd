"""What gives scores to prompt-response pairs."""
