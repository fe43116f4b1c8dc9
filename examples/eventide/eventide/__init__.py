"""Eventide: events, and seats to book at them."""
