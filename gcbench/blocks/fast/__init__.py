"""The fast ways of blocks: `impl=fast` computes what the block's own page computes, for less.

One file per block, each a page with the identity that it uses, why that is equal, and what it
saves. They take the block's own weights on every call and keep nothing between calls.
"""
