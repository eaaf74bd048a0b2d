#!/usr/bin/env bash
# One step of a pipeline: do one thing with a Rollout, wait until it is decided, leave reports, and end with the exit
# code of `rollout` (docs/cli.md, docs/pipelines.md). It asks nothing and keeps nothing.
#
# All inputs are environment variables, so that no CI system has to paste them into a script:
#   SUREFOOT_ROLLOUT           name of the Rollout (required)
#   SUREFOOT_VERB              wait (default), promote, set-image
#   SUREFOOT_IMAGES            for set-image: CONTAINER=IMAGE, several with spaces or lines between them
#   SUREFOOT_NAMESPACE         default: that of the kubeconfig's context
#   SUREFOOT_CONTEXT           default: the kubeconfig's current one
#   SUREFOOT_TIMEOUT           how long to wait (default 10m)
#   SUREFOOT_SUCCESS_ON_PAUSE  true: a release that waits for a person ends this step well
#   SUREFOOT_REPORTS           folder for release.json, gates.xml, summary.md, outcome (default surefoot-reports)
set -euo pipefail

fail_usage() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

name=${SUREFOOT_ROLLOUT:-}
verb=${SUREFOOT_VERB:-wait}
timeout=${SUREFOOT_TIMEOUT:-10m}
reports=${SUREFOOT_REPORTS:-surefoot-reports}
mkdir -p -- "$reports"
rm -f -- "$reports"/{release.json,gates.xml,summary.md,annotations.txt,outcome}
[ -n "$name" ] || fail_usage 'SUREFOOT_ROLLOUT is empty: name the Rollout'
command -v rollout >/dev/null || fail_usage 'the program rollout is not on PATH: install surefoot first'

images=()
if [ -n "${SUREFOOT_IMAGES:-}" ]; then
  read -r -d '' -a images <<<"$SUREFOOT_IMAGES" || true # read ends with 1 at the end of the text
fi
# Never empty: bash before 4.4 (macOS) calls an empty array unbound.
where=(--request-timeout=30s)
if [ -n "${SUREFOOT_NAMESPACE:-}" ]; then where+=("--namespace=$SUREFOOT_NAMESPACE"); fi
if [ -n "${SUREFOOT_CONTEXT:-}" ]; then where+=("--context=$SUREFOOT_CONTEXT"); fi

code=0
look=(status)
case $verb in
  wait)
    look=(status --wait "--timeout=$timeout")
    ;;
  promote)
    rollout promote --wait "--timeout=$timeout" "${where[@]}" -- "$name" >&2 || code=$?
    ;;
  set-image)
    [ ${#images[@]} -gt 0 ] || fail_usage 'SUREFOOT_IMAGES is empty: set-image needs CONTAINER=IMAGE'
    rollout set image --wait "--timeout=$timeout" "${where[@]}" -- "$name" "${images[@]}" >&2 || code=$?
    ;;
  *) fail_usage "SUREFOOT_VERB is $verb: say wait, promote or set-image" ;;
esac

# 0, 3, 4 and 5 speak of the release, so there is something to report; all else is about the request itself.
case $code in
  0 | 3 | 4 | 5)
    seen=0
    rollout "${look[@]}" -o json --junit "$reports/gates.xml" --summary "$reports/summary.md" \
      --annotations "$reports/annotations.txt" "${where[@]}" -- "$name" >"$reports/release.json" || seen=$?
    # What was waited for stands; a later look may only make a success less.
    if [ "$code" -eq 0 ]; then code=$seen; fi
    ;;
esac

case $code in
  0) outcome=promoted ;;
  2) outcome=usage ;;
  3) outcome=failed ;;
  4) outcome=timeout ;;
  5) outcome=paused ;;
  6) outcome=not-found ;;
  7) outcome=refused ;;
  8) outcome=unreachable ;;
  9) outcome=forbidden ;;
  *) outcome=error ;;
esac
printf '%s\n' "$outcome" >"$reports/outcome"
if [ ! -s "$reports/summary.md" ]; then
  printf '## Release: %s\n\nThere is no report; the log of this step says why (exit code %s).\n' "$outcome" "$code" \
    >"$reports/summary.md"
fi

if [ -n "${GITHUB_OUTPUT:-}" ]; then printf 'outcome=%s\ncode=%s\n' "$outcome" "$code" >>"$GITHUB_OUTPUT"; fi
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then cat -- "$reports/summary.md" >>"$GITHUB_STEP_SUMMARY"; fi
if [ -n "${GITHUB_ACTIONS:-}" ] && [ -s "$reports/annotations.txt" ]; then cat -- "$reports/annotations.txt"; fi
printf 'surefoot: %s\n' "$outcome" >&2

if [ "$code" -eq 5 ] && [ "${SUREFOOT_SUCCESS_ON_PAUSE:-false}" = true ]; then exit 0; fi
exit "$code"
