"""This app's background work. None yet."""
