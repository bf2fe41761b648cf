"""The report: theory and practice side by side, in one HTML page that needs no network."""

from frugal_theory.report.html import unfinished, write_report

__all__ = ["unfinished", "write_report"]
