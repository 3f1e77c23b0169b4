"""Reads of this app's rows that more than one door needs."""
