"""Sources: what an owner already has, read as its mapping says and never written to."""
