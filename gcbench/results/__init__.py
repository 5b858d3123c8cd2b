"""A run as rows, one a case, and what bounds a case."""
