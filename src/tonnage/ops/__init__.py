"""What people and machines are told: health, log lines, the start banner."""
