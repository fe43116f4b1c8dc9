"""A running server's metrics, sent on by OpenTelemetry's protocol: the command ``tonnage otel``.

A process of its own that asks like Prometheus does: nothing of it is in the supervisor or in a
worker. Needs ``pip install 'tonnage[otel]'``.
"""
