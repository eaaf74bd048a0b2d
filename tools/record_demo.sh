#!/usr/bin/env bash
# Records a picture of README.md: plays a demo in a terminal and keeps the last moment whose screen has all the words given
# (basic regular expressions). Needs tmux. Run by hand:
#   tools/record_demo.sh docs/demo.svg 112x34 "" "Release 2" " 20 %" "AnalysisRun.*Running"
#   tools/record_demo.sh docs/demo-chaos.svg 112x44 --chaos "Release 2" "requests/s "
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?where to write the SVG}
size=${2:?COLUMNSxLINES}
options=${3?options of rollout demo}
shift 3
title="rollout demo${options:+ $options}"
frames=$(mktemp -d)
session="record-$$"
trap 'tmux kill-session -t "$session" 2>/dev/null || true; rm -rf "$frames"' EXIT
tmux new-session -d -s "$session" -x "${size%x*}" -y "${size#*x}" "$PWD/.venv/bin/rollout demo $options; sleep 5"
for number in $(seq -w 1 400); do
    sleep 0.25
    tmux capture-pane -e -p -t "$session" >"$frames/$number.ansi" 2>/dev/null || break
done
best=("$frames"/*.ansi)
for words in "$@"; do
    mapfile -t best < <(grep -l -- "$words" "${best[@]}")
    [ "${#best[@]}" -gt 0 ] || { echo "no screen had also '$words'" >&2; exit 1; }
done
.venv/bin/python - "${best[-1]}" "$target" "${size%x*}" "$title" "$1" <<'PYTHON'
import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

frame, target, width, title, begin = sys.argv[1:]
lines = Path(frame).read_text().rstrip().splitlines()
first = next(i for i, line in enumerate(lines) if begin in line)
console = Console(record=True, width=int(width), file=io.StringIO(), force_terminal=True)
console.print(Text.from_ansi("\n".join(lines[first:])))
Path(target).write_text(console.export_svg(title=title, font_aspect_ratio=0.61))
PYTHON
echo "wrote $target"
