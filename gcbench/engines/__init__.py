"""Where comparisons run: inline, in this process."""
