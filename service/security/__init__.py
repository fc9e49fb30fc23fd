"""Keys, the dashboard's sessions and quotas: what they are, without HTTP and SQL."""
