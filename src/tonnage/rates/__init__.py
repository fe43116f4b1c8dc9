"""Rates: how often who may do something, and what they have left of it, for all workers together.

``limits`` reads what a user writes, ``gcra`` does the arithmetic, ``clients`` says who somebody is,
``table`` keeps it. Nothing here refuses anybody: requests that come too early are for
:mod:`tonnage.web.path.ratelimit`, logins that fail too often for :mod:`tonnage.stores.security`.
"""
