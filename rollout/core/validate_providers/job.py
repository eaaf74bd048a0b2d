"""The body of the provider `job`: a Job's metadata and spec. study/argo-rollouts.md 1.7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.core.checks import check_fields
from rollout.core.problem import Problem, invalid, required


def check_job(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """What we read of it; the rest of the Job is the API server's to check."""
    yield from check_fields(body, {"metadata", "spec"}, path)
    meta, spec = body.get("metadata") or {}, body.get("spec")
    if not isinstance(meta, Mapping):
        yield invalid(f"{path}.metadata", meta, "must be an object")
    else:
        yield from check_fields(meta, {"labels", "annotations"}, f"{path}.metadata")
        for field in ("labels", "annotations"):
            yield from _string_map(meta.get(field), f"{path}.metadata.{field}")
    if not isinstance(spec, Mapping):
        yield required(f"{path}.spec", "the spec of a Job", "add template.spec.containers")
        return
    template = spec.get("template")
    pod = template.get("spec") if isinstance(template, Mapping) else None
    if not isinstance(pod, Mapping):
        yield required(f"{path}.spec.template.spec", "the pods to run", "add containers")
        return
    yield from check_pod(pod, f"{path}.spec.template.spec")


def check_pod(pod: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """The spec of a pod that is to end: its containers, and that it does not start for ever."""
    restart = pod.get("restartPolicy")
    if restart not in (None, "Never", "OnFailure"):
        yield invalid(f"{path}.restartPolicy", restart, 'must be "Never" or "OnFailure"')
    if not isinstance(pod.get("securityContext") or {}, Mapping):
        yield invalid(f"{path}.securityContext", pod["securityContext"], "must be an object")
    if not isinstance(pod.get("os") or {}, Mapping):
        yield invalid(f"{path}.os", pod["os"], "must be an object")
    if not pod.get("containers"):
        yield required(f"{path}.containers", "at least one container", "give it a name and an image")
    for field in ("initContainers", "containers"):
        containers = pod.get(field) or []
        if not isinstance(containers, list):
            yield invalid(f"{path}.{field}", containers, "must be a list")
            continue
        for index, container in enumerate(containers):
            yield from _container(container, f"{path}.{field}[{index}]")


def _container(container: Any, path: str) -> Iterator[Problem]:
    if not isinstance(container, Mapping):
        yield invalid(path, container, "must be an object with name and image")
        return
    for field in ("name", "image"):
        if not isinstance(container.get(field), str) or not container[field]:
            yield required(
                f"{path}.{field}", f"a container needs {'an' if field == 'image' else 'a'} {field}"
            )
    context = container.get("securityContext") or {}
    if not isinstance(context, Mapping) or not isinstance(context.get("capabilities") or {}, Mapping):
        yield invalid(f"{path}.securityContext", context, "must be an object")


def _string_map(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        yield invalid(path, value, "must be an object whose values are texts")
