"""What a run that evaluates calls the files of its directory, for whoever writes or reads them."""

PROMPTS_FILE = "prompts.jsonl"
RESPONSES_FILE = "responses.jsonl"
SCORES_FILE = "scores.jsonl"
CORRELATIONS_FILE = "correlations.jsonl"
CURVES_FILE = "curves.jsonl"
COMPARISONS_FILE = "comparisons.jsonl"
