"""What all workers of a machine keep together, once: a level of a cache on disk.

:mod:`.level` is the level, :mod:`.contents` what is in it and who leaves, :mod:`.queue` the tables,
:mod:`.records` how what they hold looks, :mod:`.store` the file, :mod:`.mapped` what of it counts
as memory, and :mod:`.directory` where it is.
"""
