"""How models are made and what a model artifact is. Knows neither HTTP nor SQL."""
