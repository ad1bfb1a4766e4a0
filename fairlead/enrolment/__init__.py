"""Joining a federation: the invitation, the request, and the admission.

Three files and two telephone calls. The operators' *invitation* says whom to trust; its check
phrase is read to the newcomer. The newcomer's *request* holds its entry under its own root key;
the root's check phrase is read to both operators. Their *admission* holds what a node needs to
start. No private key is in any of them. See ADR 12.
"""
