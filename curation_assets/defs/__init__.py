"""Everything Dagster: assets, partitions, checks, jobs and resources."""

import warnings

import dagster as dg

# BackfillPolicy is what lets one run hold a range of shards; it has been in beta, unchanged, for years.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
