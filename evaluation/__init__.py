"""What a model's scores are worth. Knows neither HTTP nor SQL."""
