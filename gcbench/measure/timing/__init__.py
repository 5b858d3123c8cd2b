"""Timing a comparison: replicates of rounds of samples, on a clock that is an argument.

Nothing here knows what it times: a `Work` has something to prepare and something to call.
"""
