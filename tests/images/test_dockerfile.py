"""What the images say about themselves comes from the Dockerfile; here is what that has to be."""

from __future__ import annotations

import re

import pytest

from tests.images.support import ROOT
from tools.images.archive import Config
from tools.images.dockerfile import BASE_PATH, config
from tools.images.python import ENVIRONMENT, lock

OURS = (ROOT / "Dockerfile").read_text()
SMALL = """
# a comment
ARG BASE=python:3
FROM ${BASE} AS first
ENV PATH=/opt/x/bin:$PATH \\
    QUOTED="two words"
USER 7
RUN do this \\
    && that
FROM first AS second
LABEL a=b c=d
WORKDIR /w
ENTRYPOINT ["run", "it"]
CMD ["now"]
EXPOSE 80 90
"""


def test_a_target_has_what_its_parents_say():
    assert config(SMALL, "second") == Config(
        entrypoint=("run", "it"),
        command=("now",),
        environment={"PATH": f"/opt/x/bin:{BASE_PATH}", "QUOTED": "two words"},
        user="7",
        folder="/w",
        labels={"a": "b", "c": "d"},
        ports=("80", "90"),
    )


def test_a_new_entrypoint_forgets_the_command_of_the_parent():
    text = SMALL + 'FROM second AS third\nENTRYPOINT ["other"]\n'
    assert config(text, "third").command == ()
    assert config(text, "third").entrypoint == ("other",)


def test_an_unknown_target_and_an_unknown_instruction_are_named():
    with pytest.raises(ValueError, match="no target 'nowhere'; it has first, second"):
        config(SMALL, "nowhere")
    with pytest.raises(ValueError, match="HEALTHCHECK"):
        config(SMALL + "HEALTHCHECK CMD true\n", "second")


@pytest.mark.parametrize(
    ("target", "entrypoint", "command"),
    [
        ("controller", ("rollout",), ("controller", "run", "--metrics-address=:8090")),
        ("load", ("python", "-m", "analysis.load"), ()),
    ],
)
def test_our_images_start_as_nobody_from_their_own_environment(
    target: str, entrypoint: tuple[str, ...], command: tuple[str, ...]
):
    said = config(OURS, target)
    assert (said.entrypoint, said.command) == (entrypoint, command)
    assert said.user == "65532:65532"
    assert said.folder == "/tmp"
    assert said.environment["PATH"].startswith(f"/{ENVIRONMENT}/bin:")
    assert said.labels["org.opencontainers.image.title"] == f"surefoot/{target}"


@pytest.mark.parametrize("target", ["controller", "load"])
def test_the_dockerfile_installs_the_same_lock_into_the_same_place_by_the_same_steps(target: str):
    """The steps themselves are in tools/images/python.py: who changes one changes the other."""
    stage = re.split(r"^FROM ", OURS, flags=re.MULTILINE)
    [steps] = [text for text in stage if f"AS {target}-environment" in text]
    assert f"COPY requirements/{lock(target).name} /tmp/image.lock" in steps
    assert f"python -m venv /{ENVIRONMENT}" in steps
    assert "--require-hashes -r /tmp/image.lock" in steps
    assert "--no-deps /wheels/*.whl" in steps
    assert "pip uninstall --yes setuptools pip" in steps
    assert "compileall -q -j 0 --invalidation-mode unchecked-hash" in steps
    [last] = [text for text in stage if re.match(rf"base AS {target}\n", text)]
    assert re.findall(r"^COPY .*", last, re.MULTILINE) == [
        f"COPY --from={target}-environment /{ENVIRONMENT} /{ENVIRONMENT}"
    ]
