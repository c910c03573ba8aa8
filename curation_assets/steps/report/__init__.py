"""curation_report: gathers the figures and samples of a curation for the page."""

from curation_assets.steps.report.gather import gather_report

__all__ = ["gather_report"]
