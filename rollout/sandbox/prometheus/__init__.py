"""The sandbox's Prometheus: the real server, where it comes from, what it scrapes."""
