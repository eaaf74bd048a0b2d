"""Envoy Gateway in a test cluster: a real Gateway API, from its own chart, with images that we made."""
