#!/usr/bin/env bash
# Gets the Prometheus server that the sandbox and its tests use, unless it is there: get_prometheus.sh [PYTHON]
set -euo pipefail
exec "${1:-.venv/bin/python}" -m rollout.sandbox.prometheus.install
