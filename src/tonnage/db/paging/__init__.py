"""Lists that clients read a page at a time, and columns that are wanted.

* :mod:`pages`    a page after, or before, a place in the list: at the same cost everywhere in it
* :mod:`offset`   a page by its number: for lists that end soon
* :mod:`only`     a ``select()`` of some columns
* :mod:`web`      what a client asks for, and the shape of what it gets

What a page is made of: :mod:`order` reads the order of a statement, :mod:`ties` what makes its rows
differ, :mod:`keyset` says which rows come after a place, :mod:`cursors` writes places as text,
:mod:`fitting` refuses made up ones, :mod:`rows` takes rows and places apart, and :mod:`asking` runs
what the others have decided, with ``await`` or without.
"""

from tonnage.db.paging.web import PageQuery

__all__ = ["PageQuery"]
