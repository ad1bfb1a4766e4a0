"""Policy: one decision per question, computed as the meet of layers (PROTOCOL §4)."""
