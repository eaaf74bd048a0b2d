"""The project's own measurements: `python -m bench` (see `bench/__main__.py`). Not part of the product."""
