"""The lines of a running server: asked for on the control socket, shown by ``tonnage logs``.

Each process keeps its last ones (:mod:`tonnage.logs.ring`); the supervisor puts them in order
(:mod:`tonnage.ops.lines.view`), and the command shows them (:mod:`tonnage.ops.lines.showing`,
:mod:`tonnage.ops.lines.command`). Importing this package imports none of it.
"""
