"""The live page: what the server is doing, for whoever runs it, in a browser.

The supervisor makes all of it (:mod:`tonnage.ops.page.views`); a worker only lets the operator in
and passes it on. Nothing here is imported before somebody looks, but what notes the history and the
events.
"""
