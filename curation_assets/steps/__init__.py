"""What each step of the curation does with its shard, its level or its target; knows nothing of Dagster."""
