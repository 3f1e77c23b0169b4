"""A furnished workspace for the first start: configuration (demo.yaml), an admin, a key, two weeks of calls."""
