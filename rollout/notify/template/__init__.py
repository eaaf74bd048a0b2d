"""The part of Go's text/template that notification templates use, over plain data.

    template = compile("{{.rollout.metadata.name}} is {{.rollout.status.phase | upper}}")   # TemplateError
    template.render({"rollout": {...}})                                                     # TemplateError

Fields, variables, pipelines, if/else, range, with, comments, trim markers, Go's own functions for text and
comparison, and the functions of Sprig that such templates use. What is not there (define, template, block, methods,
calls, times) is refused by name when the template is read. Bounds: length of source and output, steps, depth.
"""

from rollout.notify.template.program import Template, compile  # noqa: A004 - the language's own word
from rollout.notify.template.tokens import TemplateError

__all__ = ["Template", "TemplateError", "compile"]
