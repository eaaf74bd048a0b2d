"""The roles against what the controllers ask for: used and not granted fails, granted and never used has a reason here.

Without a cluster's audit log, the requests are those of our own controllers in stories and in a sandbox: they run under
the rendered roles, and what is not granted is Forbidden to them.
"""

import os
import re
import subprocess
import sys

import pytest

from rollout.sandbox.prometheus.install import find_prometheus
from tests.chart.grants import Grant, grants
from tests.chart.support import ROOT, named, of_kind, rendered

pytestmark = pytest.mark.slow

STORIES = (
    "tests/stories/test_canary_istio.py",
    "tests/stories/test_bluegreen.py",
    "tests/stories/test_chaos_gate.py",
    "tests/stories/test_chaos_runs.py",
    "tests/stories/test_job_metrics.py",
)

SANDBOX = (
    "tests/sandbox/test_chaos_examples.py::test_the_fault_happens_is_proved_and_is_gone",
    # A fault that is over with its lease may need no patch; one that is stopped early always does.
    "tests/sandbox/test_chaos_examples.py::test_a_run_that_is_stopped_early_is_undone_at_once",
    "tests/sandbox/test_load_sandbox.py",
)

NEVER_SEEN = {
    "OwnerReferencesPermissionEnforcement, an admission plugin, asks for it in the name of who creates a child": {
        "update rollouts/finalizers.argoproj.io",
        "update analysisruns/finalizers.argoproj.io",
        "update chaosschedules/finalizers.surefoot.dev",
    },
    "Rollouts with a workloadRef have tests of their own, which take minutes (test_workload_ref)": {
        "get deployments.apps",
        "get podtemplates",
    },
    "schedules and switches have stories of their own, which take minutes (test_chaos_schedule)": {
        "patch chaosschedules/status.surefoot.dev",
        "get chaosschedules.surefoot.dev",
        "get chaosswitches.surefoot.dev",
        "patch chaosswitches/status.surefoot.dev",
    },
    "only after a lost answer or an interrupted pass, to see whether what is there is ours": {
        "get events",
        "get replicasets.apps",
        "get virtualservices.networking.istio.io",
        "get destinationrules.networking.istio.io",
        "get httproutes.gateway.networking.k8s.io",
        "get networkpolicies.networking.k8s.io",
        "get envoyfilters.networking.istio.io",
        "get backendtrafficpolicies.gateway.envoyproxy.io",
    },
    "there is no Envoy Gateway in the sandbox; faults through it have tests of their own (test_chaos_gateway)": {
        "create backendtrafficpolicies.gateway.envoyproxy.io",
        "patch backendtrafficpolicies.gateway.envoyproxy.io",
        "delete backendtrafficpolicies.gateway.envoyproxy.io",
    },
    "the sandbox enforces no NetworkPolicy, so the fault is refused there": {
        "create networkpolicies.networking.k8s.io",
        "patch networkpolicies.networking.k8s.io",
        "delete networkpolicies.networking.k8s.io",
    },
    "analyses with secret arguments are tested one by one (tests/unit/analysis, test_analysis_metrics)": {
        "get secrets",
        "create secrets",
    },
    "of the kinds of workload these tests scale Deployments only": {
        "patch replicasets/scale.apps",
        "patch statefulsets/scale.apps",
        "patch rollouts/scale.argoproj.io",
    },
    "housekeeping far beyond the end of these stories: revisionHistoryLimit, the time to live of runs": {
        "delete replicasets.apps",
        "delete analysisruns.argoproj.io",
    },
    "method: delete; the tests evict": {"delete pods"},
    "releases over Gateway API have stories of their own (test_canary_gateway)": {
        "patch httproutes.gateway.networking.k8s.io"
    },
    "what rbac.kubernetesMetric of these values names": {"list jobs.batch"},
}
REASONS = {Grant.read(text): why for why, texts in NEVER_SEEN.items() for text in texts}


def controller_grants():
    """What the controller may with every feature on."""
    objects = rendered("everything")
    mine = [one for one in of_kind(objects, "ClusterRole") if bound(objects, one["metadata"]["name"])]
    return set().union(*(grants(one["rules"]) for one in mine))


def bound(objects, name):
    bindings = [one for one in of_kind(objects, "ClusterRoleBinding") if one["metadata"]["name"] == name]
    return any(subject["name"] == "surefoot" for one in bindings for subject in one["subjects"])


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What the controllers asked for. The tests that they were watched in must pass under the roles themselves."""
    if find_prometheus() is None:
        pytest.skip("Prometheus is missing; get it with tools/get_prometheus.sh")
    folder = tmp_path_factory.mktemp("asked")
    granted = folder / "granted"
    granted.write_text("".join(f"{one}\n" for one in sorted(controller_grants())))
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.chart.under_roles",
        "-p",
        "no:cacheprovider",
        *STORIES,
        *SANDBOX,
    ]
    env = {**os.environ, "SUREFOOT_GRANTED": str(granted), "SUREFOOT_ASKED": str(folder)}
    env = {name: value for name, value in env.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(argv, check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\d+%", done.stdout), "no story was played"
    found = {Grant.read(line) for file in folder.glob("asked-*") for line in file.read_text().splitlines()}
    assert Grant("patch", "argoproj.io", "rollouts/status") in found, "the record is not kept"
    return found


def test_what_the_controllers_ask_for_is_granted(asked):
    assert not {str(one) for one in asked - controller_grants() if one.resource != "leases"}


def test_what_is_granted_is_asked_for_or_has_a_reason(asked):
    # Where the server streams lists, the reader of a watch never lists; elsewhere it does.
    streamed = {one._replace(verb="list") for one in asked if one.verb == "watch"}
    never = {one for one in controller_grants() - asked - streamed if one.resource != "leases"}
    assert {str(one) for one in never - REASONS.keys()} == set()


def test_no_reason_is_given_for_what_is_not_granted_or_is_asked_for(asked):
    assert {str(one) for one in REASONS.keys() - controller_grants()} == set()
    assert {str(one) for one in REASONS.keys() & asked} == set()


def test_a_role_that_lacks_a_verb_is_noticed(asked):
    core = grants(named(rendered(), "ClusterRole", "surefoot-core")["rules"])
    assert asked & core, "a missing core role would not be noticed"
