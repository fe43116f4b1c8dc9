"""LvlUp: what players do in games, counted."""
