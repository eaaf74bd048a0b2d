"""The tree of `get` and the rows of `list` as text. Pure: what is printed is what is returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rollout.cli.summary import Summary
from rollout.cli.text import Paint, age, columns, icon, plain, shorten
from rollout.cli.tree import Node, Tree, without_scaled_down

_KIND_ICONS = {"Rollout": "⟳", "Revision": "#", "ReplicaSet": "⧉", "Pod": "□", "AnalysisRun": "α", "Job": "⊞"}


def tree_text(shown: Tree, now: datetime, *, width: int = 0, paint: Paint = plain) -> list[str]:
    """The header and the table; names shortened where lines would be longer than `width` (0: any length)."""
    return [*header(shown.summary, paint), "", *table(shown.root, now, width=width, paint=paint)]


def screen(shown: Tree, now: datetime, *, width: int, height: int, paint: Paint) -> list[str]:
    """The same, made to fit a screen: first a short header, then without old revisions, then cut."""
    lines = tree_text(shown, now, width=width, paint=paint)
    if len(lines) <= height:
        return lines
    for smaller in (shown, without_scaled_down(shown)):
        short = short_header(smaller.summary, paint)
        lines = [*short, "", *table(smaller.root, now, width=width, paint=paint)]
        if len(lines) <= height:
            return lines
    return [*lines[: height - 1], f"… {len(lines) - height + 1} more lines; make the window taller"]


def header(summary: Summary, paint: Paint = plain) -> list[str]:
    rows = [("Name:", summary.name), ("Namespace:", summary.namespace), ("Status:", _status(summary, paint))]
    if summary.message:
        rows.append(("Message:", summary.message))
    if summary.workload:
        rows.append(("Workload:", summary.workload))
    rows.append(("Strategy:", summary.strategy or "none that can be read"))
    if summary.step is not None:
        rows.append(("  Step:", f"{summary.step.index}/{summary.step.count}"))
    if summary.weight is not None:
        rows += [("  SetWeight:", str(summary.weight.set)), ("  ActualWeight:", str(summary.weight.actual))]
    for index, image in enumerate(_images(summary)):
        rows.append(("Images:" if index == 0 else "", image))
    replicas = summary.replicas
    rows += [
        ("Replicas:", ""),
        ("  Desired:", str(replicas.desired)),
        ("  Current:", str(replicas.current)),
        ("  Updated:", str(replicas.updated)),
        ("  Ready:", str(replicas.ready)),
        ("  Available:", str(replicas.available)),
    ]
    return [f"{name:<17}{value}".rstrip() for name, value in rows]


def short_header(summary: Summary, paint: Paint = plain) -> list[str]:
    """The same facts in four lines."""
    replicas = summary.replicas
    place = [summary.strategy]
    if summary.step is not None:
        place.append(f"step {summary.step.index}/{summary.step.count}")
    if summary.weight is not None:
        place.append(f"weight {summary.weight.actual} (set {summary.weight.set})")
    said = f": {summary.message}" if summary.message else ""
    pods = (
        f"{replicas.desired} desired, {replicas.current} current, {replicas.updated} updated, "
        f"{replicas.ready} ready, {replicas.available} available"
    )
    return [
        f"{summary.name} in {summary.namespace}   {_status(summary, paint)}{said}",
        ", ".join(part for part in place if part),
        f"images: {'; '.join(_images(summary))}",
        f"pods: {pods}",
    ]


_NOTE = "note"
"""In the place of a kind: words about the node above, over the whole width."""


def table(root: Node, now: datetime, *, width: int = 0, paint: Paint = plain) -> list[str]:
    """NAME KIND STATUS AGE INFO, with the branches of the tree before the names; below them what a node has to say."""
    rows = list(_rows(root, now, "", ""))
    nodes = [row for row in rows if row[2] != _NOTE]
    texts = [[branch + name, kind, status, since, info] for branch, name, kind, status, since, info in nodes]
    texts.insert(0, ["NAME", "KIND", "STATUS", "AGE", "INFO"])
    others = [max(len(row[i]) for row in texts) for i in range(1, 5)]
    room = width - sum(others) - 2 * len(others) if width else 0
    if room > 0:
        for line, (branch, name, *_) in zip(texts[1:], nodes, strict=True):
            line[0] = branch + shorten(name, room - len(branch))
    widths = [max(len(row[i]) for row in texts) for i in range(4)]
    drawn = iter(_line(cells, widths, paint, heading=not index) for index, cells in enumerate(texts))
    lines = [next(drawn)]
    for branch, words, kind, *_ in rows:
        if kind == _NOTE:
            lines.append(branch + (shorten(words, width - len(branch)) if width else words))
        else:
            lines.append(next(drawn))
    return lines


def _line(texts: Sequence[str], widths: Sequence[int], paint: Paint, *, heading: bool) -> str:
    name, kind, status, since, info = texts
    padded = status.ljust(widths[2])
    if not heading:
        padded = paint(padded, icon(status.partition(" ")[2])[1] if status else "bold")
    return "  ".join(
        [name.ljust(widths[0]), kind.ljust(widths[1]), padded, since.ljust(widths[3]), info]
    ).rstrip()


def _rows(
    node: Node, now: datetime, branch: str, below: str
) -> Iterator[tuple[str, str, str, str, str, str]]:
    sign = f"{_KIND_ICONS.get(node.kind, '·')} "
    kind = "" if node.kind == "Revision" else node.kind
    status = f"{icon(node.status)[0]} {node.status}" if kind else ""
    yield branch + sign, node.name, kind, status, age(node.created, now), ",".join(node.info)
    for words in node.progress:
        yield below + ("│  " if node.children else "   "), words, _NOTE, "", "", ""
    for index, child in enumerate(node.children):
        last = index == len(node.children) - 1
        yield from _rows(child, now, below + ("└──" if last else "├──"), below + ("   " if last else "│  "))


def _status(summary: Summary, paint: Paint) -> str:
    sign, colour = icon(summary.phase)
    return paint(f"{sign} {summary.phase}", colour)


def _images(summary: Summary) -> list[str]:
    return [f"{one.image} ({', '.join(one.roles)})" if one.roles else one.image for one in summary.images]


def list_lines(
    summaries: Sequence[Summary], now: datetime, *, namespaces: bool = False, wide: bool = False
) -> list[str]:
    """The table of `list`."""
    head = [
        "NAME",
        "STRATEGY",
        "STATUS",
        "STEP",
        "SET-WEIGHT",
        "READY",
        "DESIRED",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
    ]
    rows = [
        [
            one.name,
            one.strategy or "?",
            one.phase,
            f"{one.step.index}/{one.step.count}" if one.step else "-",
            str(one.weight.set) if one.weight else "-",
            f"{one.replicas.ready}/{one.replicas.current}",
            str(one.replicas.desired),
            str(one.replicas.updated),
            str(one.replicas.available),
            age(one.created, now),
        ]
        for one in summaries
    ]
    if namespaces:
        head.insert(0, "NAMESPACE")
        rows = [[one.namespace, *row] for one, row in zip(summaries, rows, strict=True)]
    if wide:
        head += ["ACTUAL-WEIGHT", "REVISION", "MESSAGE"]
        rows = [
            [*row, str(one.weight.actual) if one.weight else "-", one.revision or "-", one.message]
            for one, row in zip(summaries, rows, strict=True)
        ]
    return columns([head, *rows])


def change_line(summary: Summary) -> str:
    """One line that says where a release stands: for logs, pipes and waiting."""
    parts = [summary.phase]
    if summary.step is not None:
        parts.append(f"step {summary.step.index}/{summary.step.count}")
    if summary.weight is not None:
        parts.append(f"weight {summary.weight.actual}/{summary.weight.set}")
    replicas = summary.replicas
    parts.append(f"updated {replicas.updated}/{replicas.desired} available {replicas.available}")
    return "  ".join(parts) + (f"  {summary.message}" if summary.message else "")
