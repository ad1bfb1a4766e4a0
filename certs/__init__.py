"""Certificates; only the development recipe lives here."""
