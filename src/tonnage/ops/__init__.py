"""What a running server tells: health, metrics, alerts, the live page, log lines, the banner."""
