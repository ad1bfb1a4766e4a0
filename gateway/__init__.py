"""The exchange: routes queries, never reads them."""
