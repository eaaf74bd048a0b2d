"""Everything else, by the library apprise (https://github.com/caronc/apprise): mail, chat, push and so on.

An optional extra (`pip install surefoot[notify]`): the library is imported when a message goes out, in a thread, by
`rollout.notify.sending`. Here are only the options and the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.notify.evidence import lines
from rollout.notify.message import Answer, Note, Post
from rollout.notify.services.base import Unusable, answer_of, known_only, secret_map

SCHEME = "apprise"
"""Of the URL in a `Post` that apprise is to send: `apprise:` and its own URL."""


class Apprise:
    fields = frozenset({"title", "body"})
    incidents = False
    threads = False

    def check(self, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from known_only(options, frozenset({"urls"}))
        yield from secret_map(options, "urls", "an apprise URL")

    def post(self, note: Note, options: Mapping[str, Any], recipient: str, thread: str) -> Post:  # noqa: ARG002
        url = (options.get("urls") or {}).get(recipient)
        if not url:
            raise Unusable(f"there is no URL for {recipient!r} in urls")
        body = str(note.section.get("body") or "\n".join([note.text, *lines(note.evidence)]))
        title = str(note.section.get("title") or note.title).replace("\n", " ")
        return Post(f"{SCHEME}:{url}", body.encode(), {"title": title, "severity": note.severity})

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:  # noqa: ARG002
        return answer_of(status, headers)
