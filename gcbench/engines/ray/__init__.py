"""Sweeps over many machines, on Ray: comparisons dealt to the devices of a cluster.

`spreading` deals and blames, and knows nothing of Ray; `pool` speaks with Ray; a `Lane` is what
runs on a node, with a worker process of its own below it, as on one machine. Nothing here but
`connecting`, `pool` and the lanes themselves touches Ray, and nothing at module level loads torch:
a lane chooses its cores before torch counts them.
"""
