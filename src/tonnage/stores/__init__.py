"""What a backend keeps in memory, with a bound in bytes and a place in the plan."""
