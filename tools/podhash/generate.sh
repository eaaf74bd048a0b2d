#!/bin/sh
# Writes rollout/core/podtemplate.py from the Go types of the module that go.mod names.
set -eu
cd "$(dirname "$0")"
out=../../rollout/core/podtemplate.py
table=$(go run . fields)
{
    echo '"""The fields of a pod template in the order in which Go writes them. Made by tools/podhash/generate.sh."""'
    echo
    echo "SOURCE = \"$(echo "$table" | sed -n '1s/^# //p')\""
    echo
    echo '# A line is a type and its members: name, flag (! always written, ? left out when empty, 0 left out when zero), type.'
    echo '# In types, * is a pointer, [] a list and {} a map from strings.'
    echo 'FIELDS = """'
    echo "$table" | sed '/^#/d'
    echo '"""'
} > "$out"
