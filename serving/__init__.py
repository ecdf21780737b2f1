"""Answers requests over HTTP: the only package that knows HTTP."""
