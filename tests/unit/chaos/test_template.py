"""Templates and arguments to runs, as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.plan.template import bounded, filled, run_object, spec_of
from rollout.api.analysis import Argument, ArgValueFrom, KeyRef
from rollout.api.chaos import ChaosRunSpec, TemplateUse
from rollout.api.codec import view
from rollout.errors import InvalidSpec

TEMPLATE = {
    "args": [{"name": "percent", "value": "25"}, {"name": "app"}, {"name": "ratio", "value": "0.99"}],
    "target": {"selector": {"matchLabels": {"app": "{{args.app}}"}}, "percent": "{{args.percent}}"},
    "steps": [{"faults": [{"name": "kill {{args.app}}", "podDelete": {}}]}],
    "probes": [
        {
            "name": "health",
            "mode": "Continuous",
            "provider": {"web": {"url": "http://{{args.app}}/health", "timeoutSeconds": "{{args.percent}}"}},
            "tolerance": {"ratio": "{{args.ratio}}"},
        }
    ],
    "limits": {"allowTotal": "false"},
}


def args(**values):
    return tuple(Argument(name=name, value=value) for name, value in values.items())


def problems(error):
    return " | ".join(error.value.problems)


def test_arguments_are_put_in_and_numbers_become_numbers():
    spec = filled(TEMPLATE, args(app="shop"))
    assert spec["target"] == {"selector": {"matchLabels": {"app": "shop"}}, "percent": 25}
    assert spec["steps"][0]["faults"][0]["name"] == "kill shop"
    assert spec["probes"][0]["tolerance"] == {"ratio": 0.99}
    assert spec["limits"] == {"allowTotal": False}
    assert view(spec, ChaosRunSpec).target.percent == 25


def test_what_a_provider_gets_stays_text():
    provider = filled(TEMPLATE, args(app="shop"))["probes"][0]["provider"]
    assert provider == {"web": {"url": "http://shop/health", "timeoutSeconds": "25"}}


def test_the_run_keeps_the_arguments_it_was_made_with():
    assert filled(TEMPLATE, args(app="shop", percent="50"))["args"] == [
        {"name": "percent", "value": "50"},
        {"name": "app", "value": "shop"},
        {"name": "ratio", "value": "0.99"},
    ]


def test_an_argument_without_a_value_is_asked_for():
    with pytest.raises(InvalidSpec) as error:
        filled(TEMPLATE, ())
    assert 'the argument "app" has no value' in problems(error)


def test_an_argument_that_is_not_declared_is_refused():
    with pytest.raises(InvalidSpec) as error:
        filled(TEMPLATE, args(app="shop", percnt="100"), args_path="spec.run.args")
    assert problems(error) == (
        'spec.run.args[1].name: Invalid value: "percnt": the template has no such argument; it has: app, '
        "percent, ratio"
    )


@pytest.mark.parametrize("value", ["many", "25.5", "", "1e2", "٢٥", "null", "0x19", " 25"])
def test_what_is_not_a_whole_number_is_refused_where_one_is_wanted(value):
    with pytest.raises(InvalidSpec) as error:
        filled(TEMPLATE, args(app="shop", percent=value))
    assert "spec.target.percent" in problems(error)


def test_a_number_out_of_its_bounds_is_refused():
    with pytest.raises(InvalidSpec) as error:
        filled(TEMPLATE, args(app="shop", percent="250"))
    assert "spec.target.percent" in problems(error)


def test_an_unknown_field_is_refused():
    with pytest.raises(InvalidSpec) as error:
        filled({"target": {"selecter": {}}}, ())
    assert "spec.target.selecter" in problems(error)


def test_a_secret_stays_a_placeholder_and_only_in_headers():
    token = Argument(name="t", value_from=ArgValueFrom(secret_key_ref=KeyRef(name="s", key="k")))

    def probe(web):
        return {"args": [{"name": "t"}], "probes": [{"name": "p", "mode": "Start", "provider": {"web": web}}]}

    spec = filled(probe({"headers": [{"key": "Authorization", "value": "{{args.t}}"}]}), (token,))
    assert spec["probes"][0]["provider"]["web"]["headers"][0]["value"] == "{{args.t}}"
    assert spec["args"] == [{"name": "t", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    with pytest.raises(InvalidSpec, match="would be readable here"):
        filled(probe({"url": "http://x/{{args.t}}"}), (token,))


def test_a_use_names_a_template_or_holds_a_spec():
    spec = spec_of(TemplateUse(template_name="kill", args=args(app="a")), {"spec": TEMPLATE}, "spec.run")
    assert spec["templateRef"] == {"name": "kill"}
    assert spec_of(TemplateUse(spec={"duration": "5s"}), None, "spec.run") == {"duration": "5s"}
    for wrong in (TemplateUse(), TemplateUse(template_name="kill", spec={})):
        with pytest.raises(InvalidSpec, match="exactly one of templateName and spec"):
            spec_of(wrong, {"spec": TEMPLATE}, "spec.run")


def test_a_template_that_does_not_exist_is_named():
    with pytest.raises(InvalidSpec) as error:
        spec_of(TemplateUse(template_name="kill"), None, "spec.run")
    assert problems(error).startswith(
        'spec.run.templateName: Invalid value: "kill": there is no ChaosTemplate'
    )


def test_a_run_is_controlled_by_its_owner():
    owner = {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosSchedule",
        "metadata": {"name": "weekly", "namespace": "shop", "uid": "u1"},
    }
    run = run_object("weekly-1", {"duration": "5s"}, owner=owner, labels={"a": "b"})
    assert run["metadata"]["namespace"] == "shop"
    (reference,) = run["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"], reference["controller"]) == ("ChaosSchedule", "u1", True)


@given(st.from_regex(r"[a-z]([a-z0-9.-]{0,250}[a-z0-9])?", fullmatch=True), st.integers(0, 10**9))
def test_names_are_bounded_valid_and_differ_by_stem_and_number(stem, number):
    name = bounded(stem, str(number))
    assert len(name) <= 63
    assert name[0].isalpha()
    assert name[-1].isalnum()
    assert name != bounded(f"{stem}x", str(number))
    assert name != bounded(stem, str(number + 1))
    if len(stem) + 1 + len(str(number)) <= 63:
        assert name == f"{stem}-{number}"
