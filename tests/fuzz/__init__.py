"""Fuzzing: every parser at a trust boundary, with honest seeds and nothing but our errors out."""
