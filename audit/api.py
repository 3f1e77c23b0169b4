"""This app's objects under /api/."""
