"""The socket in the state folder over which commands reach the node that is running."""
