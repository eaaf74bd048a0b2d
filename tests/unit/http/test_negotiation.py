import pytest

from rollout.errors import NotAcceptable
from rollout.sandbox.http.negotiation import WHOLE, YAML, Accepted, Form, accepted, media_type_of

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", WHOLE),
        ("*/*", WHOLE),
        ("application/json", WHOLE),
        ("application/vnd.kubernetes.protobuf,application/json", WHOLE),
        (
            f"{TABLE},application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Accepted(Form.TABLE, "v1"),
        ),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Accepted(Form.METADATA, "v1")),
        ("application/json;as=Nonsense;g=x;v=v1, application/json", WHOLE),
        ("application/yaml", Accepted(Form.WHOLE, media_type=YAML)),
        ("application/json;q=0.1, application/yaml;q=0.9", Accepted(Form.WHOLE, media_type=YAML)),
    ],
)
def test_the_best_clause_that_can_be_answered_wins(header, form):
    assert accepted(header) == form


@pytest.mark.parametrize(
    "header", ["application/vnd.kubernetes.protobuf", "text/html", "application/json;as=Nonsense"]
)
def test_a_client_that_takes_nothing_we_speak_is_refused(header):
    with pytest.raises(NotAcceptable):
        accepted(header)


def test_a_content_type_loses_its_parameters_and_case():
    assert media_type_of("Application/JSON; charset=utf-8") == "application/json"
