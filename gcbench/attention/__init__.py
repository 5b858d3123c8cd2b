"""How much attention depends on the query: the measurement behind GCNet, for any model.

Cao, Xu, Lin, Wei, Hu: "GCNet", 2019, arXiv 1904.11492, section 3.2: over the query positions i of
a trained Non-local block, the mean over all pairs of dist(v_i, v_j), for the input x_i, for what
the block adds to it, z_i - x_i, and for the attention row of i. docs/attention.md has the
definitions, and what is exact and what is sampled.
"""
