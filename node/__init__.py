"""The owner: keeps its data and answers for itself."""
