"""What a set of scores is worth: correlations with an oracle, with intervals that know about prompts."""
