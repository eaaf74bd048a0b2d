"""Watching with kubectl: get -w, wait, rollout status."""

from tests.conformance.manifests import config_map, deployment, pod


def test_get_watch_prints_what_comes_and_what_goes(kubectl):
    kubectl("create", "-f", "-", stdin=pod("first"))
    watch = kubectl.start("get", "pods", "-w", "--output-watch-events")
    try:
        assert watch.lines_until(lambda line: "first" in line)[0].split()[:2] == ["EVENT", "NAME"]
        kubectl("create", "-f", "-", stdin=pod("second"))
        added = watch.lines_until(lambda line: "second" in line)[-1]
        assert added.split()[:4] == ["ADDED", "second", "0/1", "Pending"]
        kubectl("delete", "pod", "second")
        deleted = watch.lines_until(lambda line: line.startswith("DELETED"))[-1]
        assert deleted.split()[1] == "second"
    finally:
        watch.kill()


def test_get_watch_with_a_selector_sees_only_its_own(kubectl):
    watch = kubectl.start("get", "cm", "-w", "-l", "tier=gold", "-o", "name")
    try:
        kubectl("create", "-f", "-", stdin=config_map("plain"))
        kubectl("create", "-f", "-", stdin=config_map("golden"))
        kubectl("label", "cm", "golden", "tier=gold")
        assert watch.line() == "configmap/golden"
    finally:
        watch.kill()


def test_wait_for_deletion_ends_when_the_object_goes(kubectl):
    kubectl("create", "-f", "-", stdin=config_map())
    wait = kubectl.start("wait", "--for=delete", "cm/settings", "--timeout=30s")
    kubectl("delete", "cm", "settings")
    wait.finish()


def test_wait_for_a_json_path_ends_when_it_has_the_value(kubectl):
    kubectl("create", "-f", "-", stdin=config_map(a="1"))
    wait = kubectl.start("wait", "--for=jsonpath={.data.a}=2", "cm/settings", "--timeout=30s")
    kubectl("patch", "cm", "settings", "-p", '{"data":{"a":"2"}}')
    assert "configmap/settings condition met" in wait.finish()


def test_wait_for_a_condition_ends_when_it_is_true_and_times_out_otherwise(kubectl):
    kubectl("create", "-f", "-", stdin=deployment())
    late = kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=1s", code=1)
    assert "timed out waiting for the condition" in late.err
    wait = kubectl.start("wait", "--for=condition=Available", "deploy/web", "--timeout=30s")
    condition = '{"status":{"conditions":[{"type":"Available","status":"True"}]}}'
    kubectl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", condition)
    assert "deployment.apps/web condition met" in wait.finish()


def test_rollout_status_follows_the_status_that_the_controller_writes(kubectl):
    kubectl("create", "-f", "-", stdin=deployment(replicas=2))
    status = kubectl.start("rollout", "status", "deploy/web", "--timeout=30s")
    try:
        for updated, available in ((0, 0), (2, 0), (2, 1), (2, 2)):
            counts = f'"replicas":2,"updatedReplicas":{updated},"availableReplicas":{available}'
            patch = f'{{"status":{{"observedGeneration":1,"readyReplicas":{available},{counts}}}}}'
            kubectl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", patch)
        out = status.finish()
    finally:
        status.kill()
    assert out.splitlines()[-1] == 'deployment "web" successfully rolled out'
