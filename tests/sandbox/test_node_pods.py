"""Pods as real processes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rollout.api.resources import CONFIG_MAPS, LEASES, NODES, PODS, SECRETS
from rollout.errors import BadRequest
from rollout.runtime import dial
from rollout.sandbox.http.logs import LogQuery
from rollout.sandbox.node.logs import log_source
from rollout.sandbox.node.probes import BackOff

from .node_world import World, condition, sh, status_of

pytestmark = pytest.mark.sandbox

PROBE = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
WAIT = "while :; do sleep 0.05; done"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def read(world: World, container: str = "main", **options: Any) -> str:
    source = log_source(world.state, world.clock)
    query = LogQuery(namespace="default", name="web", container=container, **options)
    return b"".join([chunk async for chunk in await source(query)]).decode()


def directory(world: World) -> Path:
    [found] = (world.state / "pods").iterdir()
    return found


def alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def waiting(world: World, reason: str) -> str:
    """Waits until the container waits for this reason; its message."""
    found = await world.until(
        lambda: (told := status_of(world.pod())["state"].get("waiting", {})).get("reason") == reason and told
    )
    return str(found.get("message", ""))


async def test_an_unknown_image_runs_the_demo_app_with_a_warning_and_becomes_ready(world: World) -> None:
    container = {
        "name": "web",
        "image": "web-frontend:v7",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": PROBE,
    }
    async with world.node():
        await world.create({"containers": [container]})
        pod = await world.ready()
        code, body = await dial.http_get(pod["status"]["podIP"], 8080, "/", seconds=5)
        assert (code, b'"version":"v7"' in body) == (200, True)
        assert pod["status"]["phase"] == "Running"
        assert pod["spec"]["nodeName"] == "sandbox"
        await world.until(lambda: world.events("Started"))
        assert world.events("Scheduled") == ["Successfully assigned default/web to sandbox"]
        assert "web-frontend:v7" in world.events("UnknownImage")[0]


async def test_the_node_reports_itself_ready_with_capacity_and_an_address_of_its_own(world: World) -> None:
    async with world.node():
        nodes = await world.until(
            lambda: [n for n in world.storage.list(NODES, None).items if n.get("status", {}).get("capacity")]
        )
        status = nodes[0]["status"]
        assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "True"
        assert status["addresses"][0]["address"].startswith("127.")
        assert int(status["capacity"]["cpu"]) >= 1


async def test_readiness_follows_the_probe_without_a_restart(world: World) -> None:
    probe = {"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    async with world.node():
        await world.create({"containers": [sh(f"touch ready; {WAIT}", readinessProbe=probe)]})
        await world.ready()
        (directory(world) / "ready").unlink()
        pod = await world.until(lambda: condition(world.pod(), "Ready") == "False" and world.pod())
        assert status_of(pod)["restartCount"] == 0
        assert status_of(pod)["state"]["running"]
        assert condition(pod, "ContainersReady") == "False"


async def test_a_crashing_container_is_restarted_with_back_off_and_its_end_is_told(world: World) -> None:
    async with world.node(backoff=BackOff(base=0.3)):
        await world.create({"containers": [sh("echo run; exit 3")]})
        pod = await world.until(
            lambda: (
                status_of(world.pod())["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
                and world.pod()
            )
        )
        status = status_of(pod)
        assert status["lastState"]["terminated"]["exitCode"] == 3
        assert status["lastState"]["terminated"]["reason"] == "Error"
        assert status["restartCount"] >= 1
        assert pod["status"]["phase"] == "Running"
        assert "back-off 0.3s restarting failed container=main" in status["state"]["waiting"]["message"]
        await world.until(lambda: status_of(world.pod())["restartCount"] >= 2)
        assert await read(world, previous=True) == "run\n"
        assert any("Back-off restarting failed container main" in m for m in world.events("BackOff"))


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [
        ("Never", 0, "Succeeded", "Completed"),
        ("Never", 7, "Failed", "Error"),
        ("OnFailure", 0, "Succeeded", "Completed"),
    ],
)
async def test_a_container_that_is_not_restarted_ends_the_pod(
    world: World, policy: str, code: int, phase: str, reason: str
) -> None:
    async with world.node():
        await world.create({"restartPolicy": policy, "containers": [sh(f"exit {code}")]})
        pod = await world.until(lambda: world.pod()["status"]["phase"] == phase and world.pod())
        ended = status_of(pod)["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (code, reason)
        assert condition(pod, "Ready") == "False"


async def test_a_failed_liveness_probe_restarts_the_container(world: World) -> None:
    probe = {"exec": {"command": ["test", "-e", "alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    container = sh(
        f"touch alive; {WAIT}", livenessProbe=probe, readinessProbe={**probe, "failureThreshold": 9}
    )
    async with world.node():
        await world.create({"containers": [container]})
        await world.ready()
        (directory(world) / "alive").unlink()
        pod = await world.until(lambda: status_of(world.pod())["restartCount"] == 1 and world.pod())
        assert status_of(pod)["lastState"]["terminated"]["exitCode"] == 143
        assert world.events("Killing") == ["Container main failed liveness probe, will be restarted"]
        assert any(m.startswith("Liveness probe failed") for m in world.events("Unhealthy"))
        await world.ready()


async def test_other_probes_wait_for_the_startup_probe(world: World) -> None:
    container = sh(
        f"touch ready; {WAIT}",
        startupProbe={
            "exec": {"command": ["test", "-e", "started"]},
            "periodSeconds": 1,
            "failureThreshold": 30,
        },
        readinessProbe={"exec": {"command": ["test", "-e", "ready"]}, "periodSeconds": 1},
        livenessProbe={
            "exec": {"command": ["test", "-e", "started"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
    )
    async with world.node():
        await world.create({"containers": [container]})
        await world.until(lambda: world.events("Unhealthy"))
        assert status_of(world.pod())["started"] is False
        assert status_of(world.pod())["ready"] is False
        (directory(world) / "started").touch()
        pod = await world.ready()
        assert (status_of(pod)["started"], status_of(pod)["restartCount"]) == (True, 0)


async def test_an_exec_probe_that_takes_too_long_is_killed_with_all_it_started(world: World) -> None:
    script = "sleep 1234 & echo $! > hung; wait"
    probe = {"exec": {"command": ["sh", "-c", script]}, "timeoutSeconds": 1, "periodSeconds": 60}
    async with world.node():
        await world.create({"containers": [sh(WAIT, readinessProbe=probe)]})
        [message] = await world.until(lambda: world.events("Unhealthy"))
        assert "timed out" in message
        assert not alive(int((directory(world) / "hung").read_text()))


@pytest.mark.parametrize(("probe", "ready"), [({"port": "web"}, True), ({"port": 9}, False)])
async def test_a_tcp_probe_asks_whether_the_port_is_open(
    world: World, probe: dict[str, Any], ready: bool
) -> None:
    container = {
        "name": "web",
        "image": "app:v1",
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": probe, "periodSeconds": 1},
    }
    async with world.node():
        await world.create({"containers": [container]})
        if ready:
            await world.ready()
        else:
            [message] = await world.until(lambda: world.events("Unhealthy"))
            assert "dial tcp" in message
            assert condition(world.pod(), "Ready") == "False"


async def test_deletion_runs_the_pre_stop_hook_then_sigterm_and_the_pod_goes(
    world: World, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"
    container = sh(
        f"trap 'echo term >> {trail}; exit 0' TERM; touch up; {WAIT}",
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {trail}"]}}},
        readinessProbe={"exec": {"command": ["test", "-e", "up"]}, "periodSeconds": 1},
    )
    async with world.node():
        await world.create({"containers": [container]})
        await world.ready()
        await world.kube.delete(PODS, "default", "web")
        assert world.pod()["metadata"]["deletionTimestamp"]
        await world.gone()
        assert trail.read_text() == "hook\nterm\n"
        assert world.events("Killing") == ["Stopping container main"]
        assert not list((world.state / "pods").iterdir())


async def test_what_ignores_sigterm_is_killed_with_its_children_after_the_grace_period(world: World) -> None:
    script = f"trap '' TERM; sleep 4321 & echo $! > child; echo $$$$ > pid; touch up; {WAIT}"
    probe = {"exec": {"command": ["test", "-e", "up"]}, "periodSeconds": 1}
    async with world.node():
        spec = {"terminationGracePeriodSeconds": 1, "containers": [sh(script, readinessProbe=probe)]}
        await world.create(spec)
        await world.ready()
        pids = [int((directory(world) / name).read_text()) for name in ("pid", "child")]
        assert all(map(alive, pids))
        await world.kube.delete(PODS, "default", "web")
        await world.gone()
        assert not any(map(alive, pids))


async def test_a_second_deletion_with_less_grace_shortens_the_wait(world: World) -> None:
    script = f"trap '' TERM; touch up; {WAIT}"
    probe = {"exec": {"command": ["test", "-e", "up"]}, "periodSeconds": 1}
    async with world.node():
        spec = {"terminationGracePeriodSeconds": 600, "containers": [sh(script, readinessProbe=probe)]}
        await world.create(spec)
        await world.ready()
        await world.kube.delete(PODS, "default", "web")
        await world.until(lambda: world.events("Killing"))
        await world.kube.delete(PODS, "default", "web", grace_seconds=1)
        await world.gone()


async def test_a_restart_for_liveness_runs_the_pre_stop_hook_too(world: World, tmp_path: Path) -> None:
    trail = tmp_path / "trail"
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    hook = {"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {trail}"]}}}
    async with world.node():
        await world.create({"containers": [sh(WAIT, livenessProbe=probe, lifecycle=hook)]})
        await world.until(lambda: status_of(world.pod())["restartCount"] == 1)
        assert trail.read_text() == "hook\n"


async def test_pods_deleted_at_any_moment_of_their_start_are_gone_and_leave_nothing(
    world: World, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    async with world.node():
        for number in range(16):
            name = f"p{number}"
            script = f"echo $$$$ > {pids}/{name}; {WAIT}"
            await world.create({"terminationGracePeriodSeconds": 1, "containers": [sh(script)]}, name)
            await asyncio.sleep(number * 0.003)
            await world.kube.delete(PODS, "default", name)
        await world.until(lambda: not world.storage.list(PODS, "default").items)
        started = [int(text) for path in pids.iterdir() if (text := path.read_text())]
        assert not any(map(alive, started))
        assert not list((world.state / "pods").iterdir())


async def test_the_node_lease_is_renewed_by_the_agent(world: World) -> None:
    async with world.node():
        leases = await world.until(lambda: world.storage.list(LEASES, "kube-node-lease").items)
        assert leases[0]["spec"]["holderIdentity"] == "sandbox"


async def test_pods_of_another_scheduler_and_gated_pods_are_left_alone(world: World) -> None:
    async with world.node():
        await world.create({"schedulerName": "mine", "containers": [sh(WAIT)]}, "other")
        await world.create({"schedulingGates": [{"name": "later"}], "containers": [sh(WAIT)]}, "gated")
        await world.create({"containers": [sh(WAIT)]})
        await world.ready()
        assert not world.pod("other")["spec"].get("nodeName")
        assert not world.pod("gated")["spec"].get("nodeName")


async def test_a_forced_deletion_ends_the_process_at_once(world: World) -> None:
    async with world.node():
        await world.create({"containers": [sh(f"trap '' TERM; echo $$$$ > pid; {WAIT}")]})
        await world.ready()
        async with asyncio.timeout(10):
            while not (path := directory(world) / "pid").exists() or not path.read_text():
                await asyncio.sleep(0.02)
            pid = int(path.read_text())
            await world.kube.delete(PODS, "default", "web", grace_seconds=0)
            while alive(pid):
                await asyncio.sleep(0.02)


async def test_a_failed_post_start_hook_restarts_the_container(world: World) -> None:
    hook = {"postStart": {"exec": {"command": ["false"]}}}
    async with world.node():
        await world.create({"containers": [sh(WAIT, lifecycle=hook)]})
        await world.until(lambda: status_of(world.pod())["restartCount"] >= 1)
        assert world.events("FailedPostStartHook")


async def test_init_containers_run_one_after_the_other_before_the_others(
    world: World, tmp_path: Path
) -> None:
    trail = tmp_path / "trail"
    inits = [sh(f"sleep 0.2; echo one >> {trail}", "one"), sh(f"echo two >> {trail}", "two")]
    async with world.node():
        await world.create({"initContainers": inits, "containers": [sh(f"echo main >> {trail}; {WAIT}")]})
        pod = await world.ready()
        assert [s["state"]["terminated"]["exitCode"] for s in pod["status"]["initContainerStatuses"]] == [
            0,
            0,
        ]
        assert condition(pod, "Initialized") == "True"
        async with asyncio.timeout(10):
            while trail.read_text() != "one\ntwo\nmain\n":
                await asyncio.sleep(0.02)


async def test_a_failing_init_container_fails_a_pod_that_never_restarts(world: World) -> None:
    async with world.node():
        spec = {"restartPolicy": "Never", "initContainers": [sh("exit 4", "init")], "containers": [sh(WAIT)]}
        await world.create(spec)
        pod = await world.until(lambda: world.pod()["status"]["phase"] == "Failed" and world.pod())
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
        assert "waiting" in status_of(pod)["state"]


async def test_the_environment_comes_from_fields_config_maps_and_secrets(world: World) -> None:
    await world.kube.create(
        CONFIG_MAPS, "default", {"metadata": {"name": "settings"}, "data": {"color": "blue"}}
    )
    await world.kube.create(SECRETS, "default", {"metadata": {"name": "keys"}, "stringData": {"token": "s3"}})
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "ALL", "value": "$(NAME)-$(COLOR)"},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]
    script = 'echo "$NAME $IP $COLOR $TOKEN $ALL $CPU $PORT $HTTP_PROXY"'
    container = sh(script, env=env, ports=[{"containerPort": 8181}], resources={"limits": {"cpu": "0.25"}})
    async with world.node(environment={"HTTP_PROXY": "http://127.0.0.1:1"}):
        await world.create({"restartPolicy": "Never", "containers": [container]})
        pod = await world.until(lambda: world.pod()["status"]["phase"] == "Succeeded" and world.pod())
        ip = pod["status"]["podIP"]
        assert await read(world) == f"web {ip} blue s3 web-blue 250 8181 http://127.0.0.1:1\n"


async def test_a_missing_config_map_is_told_and_heals_when_it_appears(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.sandbox.node.container.CONFIG_RETRY_SECONDS", 0.2)
    reference = {"configMapKeyRef": {"name": "later", "key": "a"}}
    async with world.node():
        await world.create({"containers": [sh(WAIT, env=[{"name": "A", "valueFrom": reference}])]})
        assert await waiting(world, "CreateContainerConfigError") == 'configmap "later" not found'
        await world.kube.create(CONFIG_MAPS, "default", {"metadata": {"name": "later"}, "data": {"a": "1"}})
        await world.ready()


async def test_a_command_that_does_not_exist_is_a_start_error(world: World) -> None:
    container = {"name": "main", "image": "x", "command": ["no-such-command"]}
    async with world.node():
        await world.create({"restartPolicy": "Never", "containers": [container]})
        pod = await world.until(lambda: world.pod()["status"]["phase"] == "Failed" and world.pod())
        ended = status_of(pod)["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
        assert "no-such-command: no such command in PATH" in ended["message"]


async def test_strict_images_refuse_an_unknown_image_until_the_file_names_it(
    world: World, tmp_path: Path
) -> None:
    images = tmp_path / "images.yaml"
    images.write_text("- image: other:*\n")
    async with world.node(strict_images=True, images_path=images):
        await world.create({"containers": [{"name": "web", "image": "web:v1"}]})
        assert "--strict-images" in await waiting(world, "ErrImagePull")
        await waiting(world, "ImagePullBackOff")
        images.write_text("- image: other:*\n- image: web:*\n  env: {VERSION: special}\n")
        pod = await world.ready()
        assert "reason" not in status_of(pod)["state"]["running"]


async def test_the_containers_of_a_pod_share_its_address_and_count_separately(world: World) -> None:
    web = {"name": "web", "image": "app:v1", "ports": [{"containerPort": 8080}]}
    async with world.node(backoff=BackOff(base=0.05)):
        await world.create({"containers": [web, sh("sleep 0.1; exit 1", "side")]})
        pod = await world.until(lambda: status_of(world.pod(), 1)["restartCount"] >= 2 and world.pod())
        assert status_of(pod, 0)["restartCount"] == 0
        code, _ = await dial.http_get(pod["status"]["podIP"], 8080, "/", seconds=5)
        assert code == 200


async def test_pods_that_share_one_address_get_ports_of_their_own(world: World) -> None:
    web = {"name": "web", "image": "app:v1", "ports": [{"containerPort": 8080}], "readinessProbe": PROBE}
    async with world.node(shared_address=True):
        await world.create({"containers": [web]}, "a")
        await world.create({"containers": [web]}, "b")
        pods = [await world.ready("a"), await world.ready("b")]
        assert [p["status"]["podIP"] for p in pods] == ["127.0.0.1"] * 2
        told = [p["metadata"]["annotations"]["sandbox.surefoot.dev/ports"] for p in pods]
        assert told[0] != told[1]
        assert all(t.startswith('{"8080": ') for t in told)


async def test_logs_have_both_streams_times_a_tail_and_can_be_followed(world: World) -> None:
    script = "echo one; echo two >&2; while [ ! -e go ]; do sleep 0.02; done; echo three"
    async with world.node():
        await world.create({"restartPolicy": "Never", "containers": [sh(script)]})
        await world.ready()
        following = asyncio.create_task(read(world, follow=True))
        async with asyncio.timeout(10):
            while await read(world) not in {"one\ntwo\n", "two\none\n"}:
                await asyncio.sleep(0.02)
        (directory(world) / "go").touch()
        async with asyncio.timeout(10):
            assert sorted((await following).split()) == ["one", "three", "two"]
        assert await read(world, tail_lines=1) == "three\n"
        assert await read(world, limit_bytes=2, tail_lines=1) == "th"
        stamp, text = (await read(world, tail_lines=1, timestamps=True)).split()
        assert (text, stamp.endswith("Z"), len(stamp)) == ("three", True, 30)
        with pytest.raises(BadRequest):
            await read(world, previous=True)
        with pytest.raises(BadRequest, match="waiting to start"):
            await read(world, "other")
