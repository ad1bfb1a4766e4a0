"""The kernel: what two strangers must agree on."""
