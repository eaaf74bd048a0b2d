"""`rollout notifications` on files, and what lint says of notifications."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli import exits
from rollout.cli.linting import lint
from rollout.cli.main import run
from rollout.cli.manifests import read
from rollout.notify.config import CONFIG_NAME, SECRET_NAME
from tests.unit.notify.objects import aborted, rollout
from tests.unit.notify.test_due import subscribe

DATA = {
    "service.webhook.ci": "url: $ci-url\nheaders: [{name: authorization, value: Bearer $ci-token}]",
    "template.mine": "message: '{{.rollout.metadata.name}} is {{.rollout.status.phase}}'",
    "trigger.on-mine": "- when: rollout.status.phase == 'Degraded'\n  send: [mine]",
}


def config_map(data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_NAME}, "data": data}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """--object and --config-map of an aborted Rollout and DATA."""
    (tmp_path / "rollout.yaml").write_text(yaml.safe_dump(aborted()))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config_map(DATA)))
    return ["--object", str(tmp_path / "rollout.yaml"), "--config-map", str(tmp_path / "config.yaml")]


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = exits.OK) -> str:
    assert run(["notifications", *arguments]) == code
    return capsys.readouterr().out


def test_a_dry_run_shows_the_request_and_hides_what_is_secret(capsys, files):
    shown = json.loads(
        said(capsys, "template", "notify", "mine", *files, "--recipient", "ci", "--dry-run", "-o", "json")
    )
    assert shown["headers"]["authorization"] == "Bearer ***"
    assert shown["url"] == "***"
    assert shown["body"]["message"] == "web is Degraded"


def test_a_message_is_sent_for_real(capsys, files, tmp_path):
    import socket
    import threading

    (tmp_path / "secret.yaml").write_text("")
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                head = connection.recv(65536)
                while b"web is Degraded" not in head:
                    head += connection.recv(65536)
                got.append(head)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

        server.settimeout(60)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": SECRET_NAME}}
        secret["stringData"] = {"ci-url": url, "ci-token": "T0K"}
        (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
        arguments = ["template", "notify", "mine", *files, "--recipient", "ci"]
        said(capsys, *arguments, "--secret", str(tmp_path / "secret.yaml"))
        thread.join(60)
    assert b"authorization: Bearer T0K" in got[0].replace(b"Authorization", b"authorization")


def test_a_template_or_service_that_is_not_there_is_said(capsys, files):
    said(capsys, "template", "notify", "nope", *files, "--recipient", "ci", "--dry-run", code=exits.USAGE)
    said(capsys, "template", "notify", "mine", *files, "--recipient", "slak", "--dry-run", code=exits.USAGE)
    said(capsys, "template", "get", "nope", *files[2:], code=exits.USAGE)


def test_triggers_and_templates_are_listed_with_those_that_are_built_in(capsys, files):
    triggers = json.loads(said(capsys, "trigger", "get", *files[2:], "-o", "json"))["triggers"]
    assert triggers["on-mine"] == [{"send": ["mine"], "when": "rollout.status.phase == 'Degraded'"}]
    assert triggers["on-rollout-aborted"] == [{"send": ["rollout-aborted"]}]
    assert "rollout-aborted" in said(capsys, "template", "get", *files[2:]).splitlines()


@pytest.mark.parametrize(
    ("trigger", "sent"), [("on-mine", 1), ("on-rollout-aborted", 1), ("on-rollout-completed", 0)]
)
def test_a_trigger_is_tried_on_an_object_however_old(capsys, files, trigger, sent):
    found = json.loads(said(capsys, "trigger", "run", trigger, *files, "-o", "json"))
    assert len(found["fired"]) == sent
    assert found["problems"] == []


# --- lint ---------------------------------------------------------------------------------------------


def findings(*objects: dict[str, Any], complete: bool = False) -> list[str]:
    text = yaml.safe_dump_all(objects)
    report = lint(list(read("f.yaml", text)), complete=complete)
    return [f"{one.severity} {one.path}: {one.message}" for one in report.findings]


def test_lint_says_what_is_wrong_with_the_config_map():
    wrong = findings(
        config_map({"trigger.on-mine": "- when: 'a b'\n  send: [mine]", "service.email": "a: b"})
    )
    assert any(one.startswith("error data.trigger.on-mine[0].when") for one in wrong)
    assert any("service.apprise" in one for one in wrong)
    assert findings(config_map(DATA)) == []


def test_lint_knows_the_triggers_and_services_of_the_files():
    obj = {**subscribe(rollout(), "on-mine", to="ci:"), "spec": {}}
    text = [one for one in findings(obj, config_map(DATA)) if "annotations" in one]
    assert text == []
    other = {**subscribe(rollout(), "on-yours", to="slak:a"), "spec": {}}
    text = [one for one in findings(other, config_map(DATA)) if "annotations" in one]
    assert len(text) == 2
    assert all(one.startswith("error") for one in text)


def test_without_the_config_map_an_unknown_trigger_is_a_note():
    other = {**subscribe(rollout(), "on-yours", "on-rollout-aborted", to="slack:a"), "spec": {}}
    (note,) = [one for one in findings(other) if "annotations" in one]
    assert note.startswith("note")
    assert "on-yours" in note


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: ConfigMap\ndata: [service.slack]\n", "config.yaml:2: data must be a map"),
        ("kind: ConfigMap\ndata: none\n", "config.yaml:2: data must be a map"),
        ("kind: ConfigMap\nmetadata: [name]\n", "config.yaml:2: metadata must be a map"),
        ("- ConfigMap\n", "config.yaml has no ConfigMap in it"),
        ("just words\n", "config.yaml has no ConfigMap in it"),
        ("kind: ConfigMap\nkind: ConfigMap\n", 'config.yaml:2: key "kind" stands twice'),
    ],
)
def test_a_file_that_is_no_config_map_is_a_usage_error(capsys, files, tmp_path, text, says):
    (tmp_path / "config.yaml").write_text(text)
    assert run(["notifications", "trigger", "run", "on-mine", *files]) == exits.USAGE
    assert says in capsys.readouterr().err


def test_a_secret_that_is_no_map_is_a_usage_error(capsys, files, tmp_path):
    (tmp_path / "secret.yaml").write_text("kind: Secret\nstringData: [ci-url]\n")
    arguments = ["template", "notify", "mine", *files, "--recipient", "ci"]
    assert run(["notifications", *arguments, "--secret", str(tmp_path / "secret.yaml")]) == exits.USAGE
    assert "secret.yaml:2: stringData must be a map" in capsys.readouterr().err


def test_lint_says_nothing_of_a_config_map_without_a_name_that_it_can_read(tmp_path):
    (tmp_path / "config.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: [name]\ndata: [one]\n")
    assert run(["lint", "-f", str(tmp_path / "config.yaml")]) == exits.OK


def test_an_object_that_cannot_be_read_is_a_usage_error(capsys, files, tmp_path):
    (tmp_path / "rollout.yaml").write_text("kind: Rollout\nmetadata: {name: web}\nstatus: [Healthy]\n")
    assert run(["notifications", "trigger", "run", "on-mine", *files]) == exits.USAGE
    assert "rollout.yaml:3: status must be a map" in capsys.readouterr().err
