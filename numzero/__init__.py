"""numzero."""
