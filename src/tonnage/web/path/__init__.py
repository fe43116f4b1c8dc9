"""Limits on the way of a request: sizes, rates, time, compression, uploads, and who may call.

As options of ``tonnage run``, or as :class:`~tonnage.web.path.middleware.Tonnage` and
:class:`~tonnage.web.path.wsgi.TonnageWSGI` under any server. Imports no server and no governor.
"""
