"""The part of Go's templates that we have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.notify.template import TemplateError
from rollout.notify.template import compile as read

DATA = {
    "rollout": {"metadata": {"name": "web"}, "spec": {"replicas": 3, "ratio": 0.5, "strategy": {"canary": {}}}},
    "list": [{"name": "a"}, {"name": "b"}], "empty": [], "nothing": None, "yes": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{.rollout.metadata.name}} {{ .rollout.spec.replicas }}", "web 3"),
        ("{{.missing.deeper}}", "<no value>"),
        ("{{if .rollout.spec.strategy.blueGreen}}BlueGreen{{end}}{{if .yes}}Canary{{end}}", "Canary"),
        ("{{if .empty}}a{{else if .nothing}}b{{else}}c{{end}}", "c"),
        ("{{range $i, $c := .list}}{{if $i}}, {{end}}{{$c.name}}{{end}}", "a, b"),
        ("{{range .list}}{{.name}}{{end}}{{range .empty}}x{{else}}none{{end}}", "abnone"),
        ("{{with .rollout.metadata}}{{.name}}{{end}}{{with .nothing}}x{{else}}y{{end}}", "weby"),
        ("a  {{- 1 -}}  b", "a1b"),
        ("a{{/* said */}}b", "ab"),
        ("a {{- /* said */ -}} b", "ab"),
        ("{{ $n := .rollout.metadata.name }}{{ $n | upper | quote }}", '"WEB"'),
        ("{{ $n := 1 }}{{ if .yes }}{{ $n = 2 }}{{ end }}{{ $n }}", "2"),
        ('{{ (index .list 1).name }}{{ index .rollout.metadata "name" }}', "bweb"),
        ('{{ if and .yes (eq .rollout.metadata.name "web" "x") (gt .rollout.spec.replicas 2) }}ok{{end}}', "ok"),
        ('{{ .nothing | default "none" }}{{ coalesce .nothing .empty "z" }}', "nonez"),
        ('{{ printf "%s %d %.1f %q %5s|%-3s|%t %%" "a" 4 0.25 "q" "r" "l" true }}', 'a 4 0.2 "q"     r|l  |true %'),
        ('{{ len .list }}{{ len "é" }}', "22"),
        ("{{ toJson .list }}", '[{"name":"a"},{"name":"b"}]'),
        ("{{ .list }} {{ .rollout.spec }}", "[map[name:a] map[name:b]] map[ratio:0.5 replicas:3 strategy:map[canary:map[]]]"),
        ('{{ "a,b" | splitList "," | join "-" }}{{ `raw {{ }}` }}', "a-braw {{ }}"),
        ('{{ ternary "y" "n" .yes }}{{ trunc 2 "abcd" }}{{ replace "a" "b" "aa" }}', "yabbb"),
        ("{{ $.rollout.metadata.name }}", "web"),
        ('{{ "<a>" | html }} {{ urlquery "a b" }}', "&lt;a&gt; a+b"),
    ],
)  # fmt: skip
def test_a_template_is_filled_in_as_go_does(source: str, text: str) -> None:
    assert read(source).render(DATA) == text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x\n{{ if .a }}", "line 2: this `if` has no `end`"),
        ("{{ end }}", "without an if"),
        ('{{ template "x" }}', "not supported: `template`"),
        ('{{ define "x" }}{{ end }}', "not supported: `define`"),
        ("{{ now }}", "not supported: `now`"),
        ("{{ call .time.Now }}", "not supported: `call`"),
        ("{{ .time.Parse .x }}", "methods are not supported"),
        ("{{ nope .x }}", "no such function: `nope`"),
        ("{{ .x", "`{{` without its `}}`"),
        ("{{ $x }}", "$x was not declared"),
        ("{{ .x | }}", "is empty"),
        ("{{ }}", "is empty"),
        ("{{ upper lower .x }}", "brackets"),
        ("{{ (upper .x }}", "without its `)`"),
        ("{{ range .x }}{{ else if .y }}{{ end }}", "can only be followed"),
    ],
)
def test_what_is_not_supported_is_named(source: str, said: str) -> None:
    with pytest.raises(TemplateError) as error:
        read(source)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "source",
    ["{{ .rollout.metadata.name.deeper }}", '{{ lt 1 "a" }}', "{{ index .list 9 }}", "{{ range .yes }}{{ end }}",
     "{{ len .nothing }}", "{{ upper 1 2 3 }}", "{{ range $i := 100000 }}{{ range $j := 100000 }}x{{end}}{{end}}"],
)  # fmt: skip
def test_what_cannot_be_filled_in_is_an_error_and_no_text(source: str) -> None:
    with pytest.raises(TemplateError):
        read(source).render(DATA)


_pieces = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", "if", "end", "range", "with", "else", ".a", "$x", ":=", "|", "(", ")", '"s"', "1", " ",
     "eq", "default", "text", "/*", "*/", ",", "`"]
)  # fmt: skip


@given(st.lists(_pieces, max_size=25).map("".join))
def test_whatever_is_written_is_a_text_or_a_template_error(source: str) -> None:
    try:
        text = read(source).render({"a": [1, {"b": None}]})
    except TemplateError:
        return
    assert isinstance(text, str)


@given(st.text(max_size=60).filter(lambda text: "{{" not in text))
def test_a_text_without_actions_is_itself(source: str) -> None:
    assert read(source).render({}) == source
