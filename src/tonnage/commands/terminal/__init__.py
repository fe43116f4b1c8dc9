"""``tonnage top``: a running server in a terminal, live.

    frame.py    lines of spans: what a frame is made of
    tank.py     the limit as a tank: who holds what, the marks, the last minutes
    lists.py    workers, routes, stores and events, as tables
    draw.py     a frame of all that: pure, from the server's state and what is chosen
    view.py     what is chosen, and what a key does: pure
    screen.py   the terminal itself, by the standard library's curses
    command.py  asks, draws, waits for a key

Curses is the standard library's: nothing more is installed for it, it imports in a millisecond,
sends only what has changed, and gives the terminal back as it was. Importing this package imports
none of it.
"""
