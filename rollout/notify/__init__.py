"""Notifications: what happens to releases and chaos runs, told to Slack, PagerDuty, Teams, webhooks and others.

`occurrences` says what has happened to an object, `due` which messages that makes, `rendering` what they say and
`services` how they look on the wire: all pure. `record` is what was sent; `controller` is the only part that acts.
docs/decisions/008-notifications.md says why it is built this way.
"""
