"""``tonnage logs``: the lines of a running server, asked for on the control socket.

Each process keeps its last ones (:mod:`tonnage.logs.ring`); the supervisor puts them in order
(:mod:`tonnage.ops.lines`), and the command shows them (:mod:`tonnage.commands.lines.showing`,
:mod:`tonnage.commands.lines.command`). Importing this package imports none of it.
"""
