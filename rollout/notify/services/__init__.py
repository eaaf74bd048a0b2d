"""The services that messages go to: each a pure pair of "what to send" and "what the answer means"."""

from __future__ import annotations

from collections.abc import Mapping

from rollout.notify.services.apprise import Apprise
from rollout.notify.services.base import Service
from rollout.notify.services.pagerduty import PagerDuty
from rollout.notify.services.slack import Slack
from rollout.notify.services.teams import Teams
from rollout.notify.services.webhook import Webhook

TYPES: Mapping[str, Service] = {
    "slack": Slack(),
    "pagerdutyv2": PagerDuty(),
    "teams-workflows": Teams(),
    "teams": Teams(),
    "webhook": Webhook(),
    "apprise": Apprise(),
}
"""By the type in `service.<type>`."""

_APPRISE = "write service.apprise with its URL (https://github.com/caronc/apprise/wiki)"
_WEBHOOK = "write service.webhook.<name> with its URL"
UNSUPPORTED: Mapping[str, tuple[str, str]] = {
    "pagerduty": ("version 1 of PagerDuty's API is closed", "write service.pagerdutyv2 with serviceKeys"),
    "alertmanager": ("Alertmanager", _WEBHOOK),
    "newrelic": ("New Relic", _WEBHOOK),
    "grafana": ("annotations of Grafana", _WEBHOOK),
    "github": ("GitHub", _WEBHOOK),
    **{
        name: (name, _APPRISE)
        for name in (
            "awssqs",
            "email",
            "gcppubsub",
            "googlechat",
            "mattermost",
            "nats",
            "opsgenie",
            "pushover",
        )
    },
    **{name: (name, _APPRISE) for name in ("rocketchat", "telegram", "webex")},
}
"""Types that the format has and we do not: (what, what to do instead)."""
