"""The operator's pages: links lead somewhere, commands are commands, blocks are YAML."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from rollout.cli import linting
from rollout.cli.main import app
from rollout.cli.manifests import read
from tests.pages import ROOT, blocks, scripts, text_of

DOCS = ROOT / "docs"
ALL = sorted(path.name for path in DOCS.glob("*.md"))
OPERATORS = (
    "README.md",
    "gitops.md",
    "migrate.md",
    "operations.md",
    "pipelines.md",
    "rbac.md",
    "security.md",
    "sizing.md",
    "upgrade.md",
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_INDENTED = re.compile(r"^    ((?:rollout|kubectl|helm|make) .*)$", re.MULTILINE)
_INLINE = re.compile(r"`(rollout [a-z][^`]*)`")
_WORDS = ("rollout ...", "rollout NAME")


def anchors(path):
    """The anchors that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles)
    return set(kept)


@pytest.mark.parametrize("page", OPERATORS)
def test_every_link_leads_somewhere(page):
    for link in _LINK.findall(text_of(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (DOCS / path).resolve() if path else DOCS / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_index_names_every_page():
    named = set(_LINK.findall(text_of("README.md")))
    assert {page for page in ALL if page != "README.md"} <= named


def test_what_tests_a_page_names_is_there():
    for page in OPERATORS:
        for found in re.findall(r"`((?:tests|tools|examples|integrations|rollout)/[\w./-]+)`", text_of(page)):
            assert (ROOT / found).exists(), (page, found)


# --- commands -----------------------------------------------------------------------------------------


def lines_of(page):
    """Every command line of the page, in shell blocks and indented."""
    found = [line for one in scripts(page) for line in re.sub(r"\\\n\s*", " ", one.text).splitlines()]
    return [*found, *_INDENTED.findall(text_of(page))]


def ours(page):
    """The calls of `rollout` among them, as argument lists."""
    yield from calls(lines_of(page))


def calls(lines):
    for line in lines:
        for part in re.split(r"\s(?:\||\|\||&&)\s|;\s", re.sub(r"^.*\bdo ", "", line)):
            call = re.sub(r"\s#.*$|\s</dev/null|\s(?:2>&1|>\s*\S+)", "", part.strip())
            if call.startswith("rollout ") and not call.startswith(_WORDS):
                yield shlex.split(call)[1:]


def parsed(arguments):
    """Parse as the command line does, without doing anything. Raises what typer says of a mistake."""
    command, words = typer.main.get_command(app), list(arguments)
    context = command.make_context("rollout", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]  # what the group leaves for its commands
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize("page", OPERATORS)
def test_every_rollout_command_parses(page):
    assert [(one, said) for one in ours(page) if (said := mistake(one))] == []
    told = [(one, mistake(one)) for one in calls(_INLINE.findall(text_of(page)))]
    # Inside a sentence a command may stand without its arguments.
    assert [(one, said) for one, said in told if said and not said.startswith("Missing")] == []


def mistake(arguments):
    """What the command line says of the arguments; "" when they are right."""
    try:
        parsed(arguments)
    except typer.TyperException as error:
        return str(error)
    return ""


def test_the_parser_of_this_test_finds_mistakes():
    assert parsed(["status", "web", "-n", "shop", "--wait"]) is not None
    assert parsed(["chaos", "schedule", "list", "-A"]) is not None
    for wrong in (["status", "web", "--no-such"], ["chaos", "nothing"], ["promote"], ["set", "image"]):
        with pytest.raises(typer.TyperException):
            parsed(wrong)


def test_pages_have_the_commands_that_they_are_about():
    assert ["chaos", "halt", "--hold-releases"] in [one[:3] for one in ours("operations.md")]
    assert ["lint", "-f", "live.yaml"] in list(ours("migrate.md"))
    assert len(list(ours("operations.md"))) > 10


@pytest.mark.parametrize("page", OPERATORS)
def test_every_shell_block_is_bash(page, tmp_path):
    for one in scripts(page):
        path = tmp_path / "block.sh"
        path.write_text(one.text)
        subprocess.run(["bash", "-n", str(path)], check=True, capture_output=True, timeout=60)


def test_values_that_helm_is_given_are_values_of_the_chart():
    charts = ("surefoot", "surefoot-crds")
    values = {one: yaml.safe_load((ROOT / f"charts/{one}/values.yaml").read_text()) for one in charts}
    for page in OPERATORS:
        for line in text_of(page).replace("\\\n", "").splitlines():
            for name in re.findall(r"--set '?([\w.]+)=", line):
                at = values[charts["charts/surefoot-crds" in line]]
                for part in name.split("."):
                    assert isinstance(at, dict), (page, name)
                    assert part in at, (page, name)
                    at = at[part]


# --- YAML ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", OPERATORS)
def test_every_block_is_yaml_without_problems(page):
    for heading, block in blocks(page):
        assert list(yaml.safe_load_all(block)), (page, heading)
        report = linting.lint(read(f"{page} {heading}", block))
        assert [str(one) for one in report.findings if one.severity == "error"] == []


def test_the_examples_of_the_pipelines_use_inputs_that_exist():
    github = yaml.safe_load((ROOT / "integrations/github/action.yml").read_text())["inputs"]
    gitlab = next(yaml.safe_load_all((ROOT / "integrations/gitlab/templates/release.yml").read_text()))[
        "spec"
    ]
    (hub,) = [yaml.safe_load(text) for heading, text in blocks("pipelines.md") if heading == "GitHub"]
    (lab,) = [yaml.safe_load(text) for heading, text in blocks("pipelines.md") if heading == "GitLab"]
    (step,) = [one for one in hub["jobs"]["release"]["steps"] if one.get("id") == "release"]
    assert set(step["with"]) <= set(github)
    assert {name for name, one in github.items() if one.get("required")} <= set(step["with"])
    given = set(lab["include"][0]["inputs"])
    assert given <= set(gitlab["inputs"])
    assert {name for name, one in gitlab["inputs"].items() if "default" not in one} <= given


def test_the_outcomes_of_the_page_are_those_of_the_script():
    script = Path(ROOT / "integrations/release.sh").read_text()
    table = dict(re.findall(r"^\| (\d) \| `([\w-]+)` \|", text_of("pipelines.md"), re.MULTILINE))
    named = dict(re.findall(r"^  (\d)\) outcome=([\w-]+) ;;", script, re.MULTILINE))
    assert table == {code: name for code, name in named.items() if name != "usage"}
