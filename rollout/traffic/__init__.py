"""Routers: how each kind of traffic object says who gets how much. Pure: objects in, patches out."""
