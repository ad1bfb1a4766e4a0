"""Strategic queries: the Alliance's figures, asked and released."""
