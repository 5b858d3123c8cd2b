"""Intervals, verdicts and flags, of what was measured; pure."""
