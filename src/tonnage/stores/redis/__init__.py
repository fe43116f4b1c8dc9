"""What instances share through Redis or Valkey: commands, a level of the cache, and its news."""
