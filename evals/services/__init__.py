"""Writes to this app's rows: keyword-only functions that check, act and log."""
