"""Look whether an address can be reached by TCP, and end when it is so, or is not so, as expected."""

from __future__ import annotations

import errno
import socket
import time
from typing import Literal

from chaos.injector import words

IN_A_ROW = 3
"""So many equal answers are believed."""
TRY_SECONDS = 1.0
_CUT = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.ETIMEDOUT}

Seen = Literal["open", "blocked", "refused"]


def run(address: str, expected: str, deadline: float, place: str = words.PLACE) -> int:
    """Until `expected` was seen IN_A_ROW times; fails at the deadline. A refused connection is neither: nobody
    listens there, which no policy does."""
    host, _, port = address.rpartition(":")
    row, last = 0, ""
    while time.time() < deadline:
        seen = look(host.strip("[]"), int(port))
        row, last = (row + 1 if seen == last else 1), seen
        words.tell(event="look", address=address, seen=seen)
        if seen == expected and row >= IN_A_ROW:
            return words.finish(words.DONE, seen, f"{address} is {seen} ({row} looks)", place=place)
        if seen != "blocked":
            time.sleep(TRY_SECONDS)
    message = f"{address} was not seen {expected} before the deadline, but {last or 'not at all'}"
    return words.finish(words.FAILED, last or "unseen", message, place=place)


def look(host: str, port: int) -> Seen:
    """One attempt to connect."""
    try:
        socket.create_connection((host, port), timeout=TRY_SECONDS).close()
    except TimeoutError:
        return "blocked"
    except OSError as error:
        return "blocked" if error.errno in _CUT else "refused"
    return "open"
