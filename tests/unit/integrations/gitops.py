"""The GitOps examples as values, and what Argo CD and Flux do with them, as their manuals say.

Argo CD takes what is ignored out of both sides before it compares:
https://argo-cd.readthedocs.io/en/stable/user-guide/diffing/
Flux takes the first expression that is true, in the order inProgress, failed, current:
https://fluxcd.io/flux/components/kustomize/kustomizations/#health-check-expressions
"""

import copy
import re
from functools import cache
from pathlib import Path

import yaml
from cel_expr_python import cel

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "gitops"
APPLICATION = yaml.safe_load((FOLDER / "argocd" / "application.yaml").read_text())
HEALTH = yaml.safe_load((FOLDER / "argocd" / "argocd-cm.yaml").read_text())["data"]
FLUX = yaml.safe_load((FOLDER / "flux" / "kustomization.yaml").read_text())
RULES = APPLICATION["spec"]["ignoreDifferences"]
_SERVERS = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp")
_PART = re.compile(r'\.([A-Za-z]+)|\["([^"]+)"\]|(\[\]\??)')


# --- Argo CD: differences -----------------------------------------------------------------------------


def compared(obj, rules=RULES):
    """What Argo CD compares of an object: without what the server adds, the status, and what the rules ignore."""
    left = copy.deepcopy({key: value for key, value in obj.items() if key != "status"})
    for field in _SERVERS:
        left["metadata"].pop(field, None)
    group = obj["apiVersion"].partition("/")[0] if "/" in obj["apiVersion"] else ""
    for rule in rules:
        named = rule.get("name") in (None, obj["metadata"]["name"])
        if (rule["group"], rule["kind"]) == (group, obj["kind"]) and named:
            for pointer in rule.get("jsonPointers", ()):
                _remove(left, [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]])
            for expression in rule.get("jqPathExpressions", ()):
                _remove(left, path_of(expression))
    if not left["metadata"].get("annotations", True):
        del left["metadata"]["annotations"]
    return left


def path_of(expression):
    """The steps of a jq path made of names and `[]`, None for each element; ValueError for anything else."""
    parts, at = [], 0
    for found in _PART.finditer(expression):
        if found.start() != at:
            break
        parts.append(found[1] or found[2])
        at = found.end()
    if at != len(expression):
        raise ValueError(f"only names and [] are understood here: {expression}")
    return parts


def _remove(at, path):
    if at is None:
        return
    head, *rest = path
    if head is None:
        for one in at if isinstance(at, list) else ():
            _remove(one, rest)
    elif isinstance(at, dict) and not rest:
        at.pop(head, None)
    elif isinstance(at, dict):
        _remove(at.get(head), rest)


# --- Argo CD: health ----------------------------------------------------------------------------------


def argo_cd_health(rollout):
    """(health, message) of a Rollout, by the contract of its status (study/argo-rollouts.md 2.1)."""
    status = rollout.get("status") or {}
    seen = status.get("observedGeneration", "")
    if not status:
        return "Progressing", "no status yet"
    if seen.isdecimal() and int(seen) < rollout["metadata"].get("generation", 0):
        return "Progressing", "waiting for rollout spec update to be observed"
    if status.get("controllerPause") and not status.get("pauseConditions"):
        return "Progressing", "waiting for rollout to unpause"
    names = {
        "Healthy": "Healthy",
        "Paused": "Suspended",
        "Progressing": "Progressing",
        "Degraded": "Degraded",
    }
    return names.get(status.get("phase"), "Unknown"), status.get("message") or ""


# --- Flux ---------------------------------------------------------------------------------------------


@cache
def _compiled(text):
    names = ("apiVersion", "kind", "metadata", "spec", "status")
    environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))
    return environment.compile(text)


def true(expression, obj):
    """Whether an expression is true of an object; None when it cannot be answered (a field that is not there)."""
    result = _compiled(expression).eval(data={key: value for key, value in obj.items() if key != "x"})
    return None if result.type() == cel.Type.ERROR else result.value()


def flux_status(obj):
    """Current, InProgress or Failed; an expression without an answer is no answer, and Flux goes on waiting."""
    (exprs,) = [
        one
        for one in FLUX["spec"]["healthCheckExprs"]
        if (one["apiVersion"], one["kind"]) == (obj["apiVersion"], obj["kind"])
    ]
    for name, status in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
        answer = true(exprs[name], obj)
        if answer is None:
            return "InProgress"
        if answer:
            return status
    return "InProgress"


# --- kstatus ------------------------------------------------------------------------------------------


def kstatus(obj):
    """What kstatus makes of a custom resource: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus.

    A generation that is not a number is an error there, which `helm --wait` and Flux show as Unknown.
    """
    meta, status = obj["metadata"], obj.get("status") or {}
    if meta.get("deletionTimestamp"):
        return "Terminating"
    seen = status.get("observedGeneration")
    if seen is not None and not isinstance(seen, int):
        return "Unknown"
    if seen is not None and seen != meta.get("generation"):
        return "InProgress"
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or []}
    if conditions.get("Stalled") == "True":
        return "Failed"
    if conditions.get("Reconciling") == "True" or conditions.get("Ready", "True") != "True":
        return "InProgress"
    return "Current"
