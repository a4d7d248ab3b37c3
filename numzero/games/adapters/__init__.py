"""Environments of other libraries as games, a file a library: each is imported for its own names alone."""
