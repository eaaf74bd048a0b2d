"""The command `rollout` (and `kubectl surefoot`)."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from rollout.cli import exits
from rollout.cli.commands import (
    abort,
    chaos,
    completion,
    controller,
    crds,
    demo,
    get,
    history,
    import_,
    lint,
    load,
    notifications,
    pause,
    promote,
    restart,
    retry,
    sandbox,
    set_image,
    status,
    undo,
    version,
)
from rollout.cli.commands import list as list_command
from rollout.cli.fast import FastCommand, FastGroup
from rollout.errors import SurefootError

app = typer.Typer(
    cls=FastGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Progressive delivery with safe rollouts: look at releases, and decide about them.",
    epilog=exits.HELP,
)


def _add(name: str, command: Any, epilog: str = "", group: typer.Typer = app) -> None:
    group.command(name, cls=FastCommand, epilog=epilog or None)(command)


def _group(name: str, about: str, parent: typer.Typer = app) -> typer.Typer:
    group = typer.Typer(cls=FastGroup, rich_markup_mode=None, no_args_is_help=True, help=about)
    parent.add_typer(group, name=name)
    return group


_add("get", get.get, get.EXAMPLES)
_add("list", list_command.list_rollouts, list_command.EXAMPLES)
_add("status", status.status, status.EXAMPLES)
_add("history", history.history, history.EXAMPLES)
_add("promote", promote.promote, promote.EXAMPLES)
_add("abort", abort.abort, abort.EXAMPLES)
_add("retry", retry.retry, retry.EXAMPLES)
_add("undo", undo.undo, undo.EXAMPLES)
_add("pause", pause.pause, pause.EXAMPLES)
_add("restart", restart.restart, restart.EXAMPLES)
_set = _group("set", "Change what a Rollout runs.")
_add("image", set_image.set_image, set_image.EXAMPLES, _set)
_sandbox = _group("sandbox", sandbox.ABOUT)
_add("up", sandbox.up, sandbox.UP_EXAMPLES, _sandbox)
_add("down", sandbox.down, sandbox.DOWN_EXAMPLES, _sandbox)
_add("status", sandbox.status, sandbox.STATUS_EXAMPLES, _sandbox)
_add("gaps", sandbox.gaps, sandbox.GAPS_EXAMPLES, _sandbox)
_add("demo", demo.demo, demo.EXAMPLES)
_controller = _group("controller", controller.ABOUT)
_add("run", controller.run, controller.RUN_EXAMPLES, _controller)
_add("lint", lint.lint, lint.EXAMPLES)
_chaos = _group("chaos", chaos.ABOUT)
_add("run", chaos.run, chaos.RUN_EXAMPLES, _chaos)
_add("list", chaos.list_runs, chaos.LIST_EXAMPLES, _chaos)
_add("get", chaos.get, chaos.GET_EXAMPLES, _chaos)
_add("stop", chaos.stop, chaos.STOP_EXAMPLES, _chaos)
_add("report", chaos.report, chaos.REPORT_EXAMPLES, _chaos)
_add("preflight", chaos.preflight, chaos.PREFLIGHT_EXAMPLES, _chaos)
_add("halt", chaos.halt, chaos.HALT_EXAMPLES, _chaos)
_add("resume", chaos.resume, chaos.RESUME_EXAMPLES, _chaos)
_add("reap", chaos.reap, chaos.REAP_EXAMPLES, _chaos)
_schedule = _group("schedule", chaos.SCHEDULE_ABOUT, _chaos)
_add("list", chaos.schedule_list, chaos.SCHEDULE_EXAMPLES, _schedule)
_add("run", chaos.schedule_run, chaos.SCHEDULE_RUN_EXAMPLES, _schedule)
_add("suspend", chaos.schedule_suspend, chaos.SUSPEND_EXAMPLES, _schedule)
_add("resume", chaos.schedule_resume, chaos.SUSPEND_EXAMPLES, _schedule)
_load = _group("load", load.ABOUT)
_add("run", load.run, load.RUN_EXAMPLES, _load)
_notifications = _group("notifications", notifications.ABOUT)
_template = _group("template", notifications.TEMPLATE_ABOUT, _notifications)
_add("get", notifications.template_get, notifications.TEMPLATE_GET_EXAMPLES, _template)
_add("notify", notifications.notify, notifications.NOTIFY_EXAMPLES, _template)
_trigger = _group("trigger", notifications.TRIGGER_ABOUT, _notifications)
_add("get", notifications.trigger_get, notifications.TRIGGER_GET_EXAMPLES, _trigger)
_add("run", notifications.trigger_run, notifications.RUN_EXAMPLES, _trigger)
_import = _group("import", import_.ABOUT)
_add("litmus", import_.litmus, import_.LITMUS_EXAMPLES, _import)
_add("flagger", import_.flagger, import_.FLAGGER_EXAMPLES, _import)
_add("crds", crds.crds, crds.EXAMPLES)
_add("completion", completion.completion, completion.EXAMPLES)
_add("version", version.version)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run one command line; errors become one or two lines on stderr and an exit code."""
    if any(name.endswith("_COMPLETE") and name.startswith("_") for name in os.environ):
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        result = app(arguments, standalone_mode=False)
    except exits.ReaderGone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except SurefootError as error:
        return _failed(exits.text_of(error), exits.code_of(error))
    except (KeyboardInterrupt, typer.Abort):
        return exits.INTERRUPTED
    except typer.TyperException as error:
        usage: Any = error  # typer's type stubs do not show that it can print itself
        usage.show()
        return exits.USAGE
    return result if isinstance(result, int) else exits.OK


def _failed(text: str, code: int) -> int:
    sys.stderr.write(f"error: {text}\n")
    return code


if __name__ == "__main__":
    main()
