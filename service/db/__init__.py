"""Where answers are kept: tables, sessions, and plain functions of a session."""
