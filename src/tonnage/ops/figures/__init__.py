"""What the workers count, as one sum: requests by route, and what stores, pools and queues say.

The records are in :mod:`tonnage.ops.figures.records`. Importing this package imports none of it.
"""
