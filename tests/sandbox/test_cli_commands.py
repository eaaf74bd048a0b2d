"""The command line against the sandbox's API server: what it prints, what it changes, how it ends."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from rollout.api.crds import crds
from rollout.api.resources import ANALYSIS_RUNS, CRDS, NAMESPACES, PODS, REPLICA_SETS, ROLLOUTS
from rollout.cli import acting
from rollout.cli.main import run
from rollout.cli.options import How, Target
from rollout.cli.verbs import PROMOTED_BY, promote
from rollout.runtime import config
from rollout.runtime.sync import SyncKube
from tests.unit.cli import world

pytestmark = pytest.mark.sandbox
NAME = "web-frontend"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = tmp_path_factory.mktemp("state")
    command = [sys.executable, "-m", "rollout.sandbox.http", "--state", str(state)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        path = json.loads(process.stdout.readline())["kubeconfig"]
        with SyncKube(config.load(kubeconfig=path)) as kube:
            for crd in crds():
                kube.create(CRDS, None, crd)
        yield path
    finally:
        process.communicate(timeout=30)


class World:
    """A namespace with one canary in the middle of its steps."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.kubeconfig, self.namespace = kubeconfig, namespace
        self.kube = SyncKube(config.load(kubeconfig=kubeconfig))
        self.started: list[subprocess.Popen[str]] = []
        self.kube.create(NAMESPACES, None, {"metadata": {"name": namespace}})

    def put(self, resource, obj, uid=""):
        obj = deepcopy(obj)
        status = obj.pop("status", None)
        meta = obj["metadata"]
        for field in ("uid", "resourceVersion", "generation", "creationTimestamp"):
            meta.pop(field, None)
        meta["namespace"] = self.namespace
        if uid:
            meta["ownerReferences"][0]["uid"] = uid
        made = self.kube.create(resource, self.namespace, obj)
        if status is None:
            return made
        if resource == ROLLOUTS:
            status |= {"observedGeneration": str(made["metadata"]["generation"])}
        subresource = "" if resource == ANALYSIS_RUNS else "status"
        name = meta["name"]
        return self.kube.patch(resource, self.namespace, name, {"status": status}, subresource=subresource)

    def fill(self, rollout=None):
        owner = self.put(ROLLOUTS, rollout or world.waiting_for_person())["metadata"]["uid"]
        uids = {}
        for one in world.replica_sets():
            uids[one["metadata"]["name"]] = self.put(REPLICA_SETS, one, owner)["metadata"]["uid"]
        for one in world.pods():
            self.put(PODS, one, uids[one["metadata"]["ownerReferences"][0]["name"]])
        self.put(ANALYSIS_RUNS, world.run(f"{NAME}-run", 2, "Running", successful=3), owner)
        return self

    def rollout(self):
        return self.kube.get(ROLLOUTS, self.namespace, NAME)

    def status(self, **fields):
        return self.kube.patch(ROLLOUTS, self.namespace, NAME, {"status": fields}, subresource="status")

    def arguments(self, *words):
        return [*words, "-n", self.namespace, "--kubeconfig", self.kubeconfig]

    def run(self, *words):
        return run(self.arguments(*words))

    def process(self, *words, **options):
        command = [sys.executable, "-m", "rollout.cli.main", *self.arguments(*words)]
        process = subprocess.Popen(command, text=True, **options)
        self.started.append(process)
        return process

    def close(self):
        """Whatever a test has started ends with it, also when it has failed."""
        for process in self.started:
            process.kill()
            process.wait()
        self.kube.close()


@pytest.fixture
def empty(kubeconfig: str, request: pytest.FixtureRequest) -> Iterator[World]:
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-50:].strip("-")
    made = World(kubeconfig, name)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def shop(empty: World) -> World:
    return empty.fill()


# --- reading --------------------------------------------------------------------------------------------


def test_get_shows_the_whole_tree(shop, capfd):
    assert shop.run("get", "rollout", NAME) == 0
    shown = capfd.readouterr().out

    assert "Status:          ॥ Paused" in shown
    assert "(stable)" in shown
    assert re.search(r"│  │  └──□ web-frontend-7bf9d4c8d-x2z9k +Pod +✔ Running +\d+s +ready:1/1", shown)
    assert re.search(r"└──α web-frontend-run +AnalysisRun +✔ Running +\d+s +✔ 3", shown)
    assert "\x1b" not in shown


def test_get_as_json_yaml_and_name(shop, capfd):
    assert shop.run("get", NAME, "-o", "json") == 0
    data = json.loads(capfd.readouterr().out)
    assert data["summary"]["schemaVersion"] == 1
    assert data["root"]["children"][0]["children"][0]["info"] == ["canary"]

    assert shop.run("get", NAME, "-o", "yaml") == 0
    assert yaml.safe_load(capfd.readouterr().out) == data
    assert shop.run("get", NAME, "-o", "name") == 0
    assert capfd.readouterr().out == "rollout.argoproj.io/web-frontend\n"


def test_list_of_one_namespace_of_all_and_by_label(shop, capfd):
    assert shop.run("list", "rollouts") == 0
    assert capfd.readouterr().out.splitlines()[1].startswith("web-frontend  Canary    Paused  1/11")
    assert run(["list", "-A", "--kubeconfig", shop.kubeconfig, "-o", "json"]) == 0
    found = json.loads(capfd.readouterr().out)["items"]
    assert (shop.namespace, NAME) in {(one["namespace"], one["name"]) for one in found}
    assert shop.run("list", "-l", "no=such") == 0
    assert capfd.readouterr() == ("", f"No Rollouts in namespace '{shop.namespace}'.\n")


def test_status_tells_by_exit_code(shop, capfd):
    assert shop.run("status", NAME) == 5
    assert capfd.readouterr().out == "Paused - CanaryPauseStep\n"
    assert shop.run("status", NAME, "--success-on-pause") == 0
    shop.status(pauseConditions=None)
    assert shop.run("status", NAME) == 4
    shop.status(phase="Degraded", message="RolloutAborted: bad", abort=True, controllerPause=False)
    capfd.readouterr()
    assert shop.run("status", NAME, "-o", "json") == 3
    assert json.loads(capfd.readouterr().out)["aborted"] is True


def test_status_waits_until_it_is_decided(shop, capfd):
    shop.status(phase="Progressing", message="more", pauseConditions=None, controllerPause=False)
    waiting = shop.process("status", NAME, "--wait", "--timeout", "30s", stdout=-1, stderr=-1)
    assert "Progressing" in waiting.stderr.readline()
    shop.status(phase="Healthy", message="")
    out, told = waiting.communicate(timeout=30)

    assert (waiting.returncode, out) == (0, "Healthy\n")
    assert "Healthy" in told


def test_status_gives_up_after_its_timeout(empty, capfd):
    empty.fill(world.rollout())
    assert empty.run("status", NAME, "--wait", "--timeout", "0.3s") == 4
    assert "Not decided after 0.3s." in capfd.readouterr().err


def test_what_does_not_exist_is_said_with_the_way_to_find_what_does(empty, capfd):
    assert empty.run("get", "nope") == 6
    assert capfd.readouterr().err == (
        f'error: Rollout "nope" not found in namespace "{empty.namespace}"\n'
        f"Those that are there: rollout list -n {empty.namespace}\n"
    )


# --- looking on -----------------------------------------------------------------------------------------


def test_watching_off_a_terminal_writes_a_line_per_change_and_ends_on_interrupt(shop):
    looking = shop.process("get", NAME, "-w", stdout=-1, stderr=-1)
    assert "Paused  step 1/11  weight 10/10" in looking.stdout.readline()
    shop.status(currentStepIndex=2)
    assert "step 2/11" in looking.stdout.readline()
    looking.send_signal(signal.SIGINT)
    _, told = looking.communicate(timeout=30)

    assert (looking.returncode, told) == (130, "")


def test_watching_ends_when_the_rollout_is_deleted(shop):
    looking = shop.process("get", NAME, "-w", stdout=-1, stderr=-1)
    looking.stdout.readline()
    shop.kube.delete(ROLLOUTS, shop.namespace, NAME)
    _, told = looking.communicate(timeout=30)

    assert (looking.returncode, told) == (6, 'error: Rollout "web-frontend" was deleted\n')


def test_watching_on_a_terminal_draws_the_tree_and_leaves_cleanly(shop):
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    looking = shop.process("get", NAME, "-w", stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    seen = read_until(ours, "x2z9k")
    shop.status(phase="Healthy", message="", currentStepIndex=11, stableRS=world.CANARY, pauseConditions=None)
    seen += read_until(ours, "Healthy")
    looking.send_signal(signal.SIGINT)

    assert looking.wait(timeout=30) == 130
    os.close(ours)
    assert "\x1b[?25l" in seen
    assert "Traceback" not in seen


def read_until(descriptor: int, words: str) -> str:
    seen = ""
    while words not in seen:
        assert select.select([descriptor], [], [], 30)[0], f"never saw {words!r} in {seen!r}"
        seen += os.read(descriptor, 65536).decode(errors="replace")
    return seen


# --- acting ---------------------------------------------------------------------------------------------


def test_promote_twice_acts_once_and_keeps_who(shop, capfd):
    assert shop.run("promote", NAME) == 0
    after = shop.rollout()
    assert not after["status"].get("pauseConditions")
    assert after["status"]["currentStepIndex"] == 1
    record = json.loads(after["metadata"]["annotations"][PROMOTED_BY])
    assert record["by"]
    assert record["revision"] == "2"
    managers = {one["manager"] for one in after["metadata"].get("managedFields", ())}
    assert "rollout-promote" in managers

    assert shop.run("promote", NAME) == 0
    assert "promoted already" in capfd.readouterr().out
    assert shop.rollout()["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


def test_promote_looks_again_when_somebody_else_was_faster(shop):
    looks = []

    def decide(cluster, raw, rollout):
        looks.append(raw["metadata"]["resourceVersion"])
        if len(looks) == 1:
            shop.status(message="changed in between")
        return promote(rollout)

    target = Target(shop.namespace, "", shop.kubeconfig, "", (), "30s")
    acting.act(target, "promote", NAME, How(None, False, "10m", False, False), decide)

    assert len(set(looks)) == 2
    assert not shop.rollout()["status"].get("pauseConditions")


def test_two_promotions_at_the_same_moment_are_one(shop):
    ends: list[int] = []
    both = [threading.Thread(target=lambda: ends.append(shop.run("promote", NAME))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(timeout=60)

    assert ends == [0, 0]
    assert shop.rollout()["status"]["currentStepIndex"] == 1


def test_promote_of_what_is_not_paused_is_refused_with_the_reason(shop, capfd):
    shop.status(phase="Progressing", message="more replicas", pauseConditions=None, controllerPause=False)
    assert shop.run("promote", NAME) == 7
    assert "is not paused" in capfd.readouterr().err
    assert shop.run("promote", NAME, "--skip-step") == 0
    assert shop.rollout()["status"]["currentStepIndex"] == 2
    assert shop.run("promote", NAME, "--full") == 0
    assert shop.rollout()["status"]["promoteFull"] is True


def test_abort_and_retry(shop, capfd):
    assert shop.run("retry", NAME) == 7
    assert shop.run("abort", NAME) == 0
    assert shop.rollout()["status"]["abort"] is True
    assert shop.run("abort", NAME) == 0
    shop.status(phase="Degraded", message="RolloutAborted: by hand")
    assert shop.run("promote", NAME) == 7
    assert "rollout retry" in capfd.readouterr().err
    assert shop.run("retry", NAME) == 0
    assert shop.rollout()["status"]["abort"] is False


def test_abort_that_waits_has_reached_its_aim_when_the_rollout_is_aborted(shop):
    waiting = shop.process("abort", NAME, "--wait", "--timeout", "30s", stdout=-1, stderr=-1)
    assert "aborted: going back" in waiting.stdout.readline()
    shop.status(phase="Degraded", message="RolloutAborted: by hand", controllerPause=False)
    while "Degraded" not in waiting.stderr.readline():
        assert waiting.poll() is None
    shop.status(canary={"weights": {"canary": {"weight": 0}}})
    waiting.communicate(timeout=30)
    assert waiting.returncode == 0


def test_pause_restart_set_image_and_undo_change_the_spec(shop, capfd):
    assert shop.run("pause", NAME) == 0
    assert shop.run("restart", NAME) == 0
    assert shop.run("set", "image", NAME, "web-frontend=web-frontend:v3") == 0
    spec = shop.rollout()["spec"]
    assert spec["paused"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", spec["restartAt"])
    assert spec["template"]["spec"]["containers"][0]["image"] == "web-frontend:v3"

    assert shop.run("undo", NAME, "--to-revision", "1") == 0
    template = shop.rollout()["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "web-frontend:v1"
    assert template["metadata"]["labels"] == {"app": "web-frontend"}
    assert shop.run("undo", NAME, "--to-revision", "9") == 7
    assert "it has 2, 1" in capfd.readouterr().err


def test_a_dry_run_changes_nothing(shop, capfd):
    before = shop.rollout()
    for words in (["promote", NAME], ["set", "image", NAME, "*=x:v9"], ["abort", NAME]):
        assert shop.run(*words, "--dry-run") == 0
        assert "(dry run)" in capfd.readouterr().out
    assert shop.rollout() == before


# --- what goes wrong ------------------------------------------------------------------------------------


def changed(kubeconfig: str, folder, **fields) -> str:
    data = yaml.safe_load(Path(kubeconfig).read_text())
    for entry in data["clusters"]:
        entry["cluster"].update({k: v for k, v in fields.items() if k == "server"})
    for entry in data["users"]:
        entry["user"].update({k: v for k, v in fields.items() if k == "token"})
    path = folder / "config"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def test_an_api_server_that_is_away_is_named(kubeconfig, tmp_path, capfd):
    path = changed(kubeconfig, tmp_path, server="https://127.0.0.1:9")
    assert run(["get", "x", "--kubeconfig", path]) == 8
    said = capfd.readouterr().err
    assert "cannot reach the API server https://127.0.0.1:9" in said
    assert path in said
    assert len(said.splitlines()) <= 2


def test_a_wrong_token_is_forbidden(kubeconfig, tmp_path, capfd):
    path = changed(kubeconfig, tmp_path, token="wrong")
    assert run(["list", "--kubeconfig", path]) == 9
    assert "does not know who you are" in capfd.readouterr().err


def test_a_kubeconfig_or_context_that_does_not_exist_is_a_usage_error(kubeconfig, tmp_path, capfd):
    assert run(["list", "--kubeconfig", str(tmp_path / "none")]) == 2
    assert run(["list", "--kubeconfig", kubeconfig, "--context", "nope"]) == 2
    assert "has no context 'nope'" in capfd.readouterr().err


def test_usage_errors_end_with_two(kubeconfig, capfd):
    for words in (
        ["get"],
        ["get", "a", "b"],
        ["list", "pods"],
        ["status", "x", "--timeout", "soon"],
        ["nope"],
    ):
        assert run([*words]) == 2, words
    assert "Traceback" not in capfd.readouterr().err
