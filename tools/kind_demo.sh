#!/usr/bin/env bash
# A canary by the share of pods on a kind cluster. Needs Docker, kind and kubectl; pulls a small public image.
# It cannot run on the machines that build this project (no container engine, no registry), so CI does not run it.
set -euo pipefail
cd "$(dirname "$0")/.."
for tool in docker kind kubectl; do
    if ! command -v "$tool" >/dev/null; then
        echo "make kind-demo needs $tool, which is not on the PATH. Without it: make demo (no cluster needed)." >&2
        exit 2
    fi
done
if ! docker info >/dev/null 2>&1; then
    echo "Docker is installed but its engine does not answer; start it, or use: make demo" >&2
    exit 2
fi
context=kind-surefoot
if ! kind get clusters 2>/dev/null | grep -qx surefoot; then
    kind create cluster --config kind-config.yaml
fi
.venv/bin/rollout crds | kubectl --context "$context" apply --server-side -f -
.venv/bin/rollout controller run --context "$context" --log-format console --log-level warning &
controller=$!
trap 'kill $controller 2>/dev/null; wait $controller 2>/dev/null || true' EXIT
kubectl --context "$context" apply -f examples/rollout-kind.yaml
.venv/bin/rollout status kind-web --context "$context" -n default --wait --timeout 5m
.venv/bin/rollout set image kind-web "web=registry.k8s.io/e2e-test-images/agnhost:2.53" --context "$context" -n default
.venv/bin/rollout status kind-web --context "$context" -n default --wait --timeout 5m
.venv/bin/rollout get kind-web --context "$context" -n default
echo "Look around: kubectl --context $context get rollouts,pods. Remove it all: kind delete cluster --name surefoot"
