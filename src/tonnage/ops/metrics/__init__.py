"""The server's figures for machines: Prometheus's text, and the originals' JSON.

The supervisor makes both (:mod:`tonnage.ops.metrics.views`) when somebody asks; before that,
nothing of this is imported. To send them on by OpenTelemetry is a process of its own:
:mod:`tonnage.commands.otel`.
"""
