"""curation_report: gathers the figures and samples of a curation for the page."""

from curation_assets.steps.report.gather import gather_report
from curation_assets.steps.report.warnings import DOMINATING_SHARE, dominating_share

__all__ = ["DOMINATING_SHARE", "dominating_share", "gather_report"]
