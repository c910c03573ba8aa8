"""A pool whose YAML is wrong, as one asset: it and its check fail with what is wrong and the remedy."""

import re
import shlex
from collections.abc import Iterator

import dagster as dg

from curation_assets.pools import BrokenPool

BROKEN_ASSET = "broken_pool"
BROKEN_CHECK = "pool_file_is_valid"


def build_broken_pool(broken: BrokenPool) -> dg.AssetsDefinition:
    """The asset `<pool>/broken_pool`. What is wrong is its description too, so nothing needs to run to see it."""
    key = dg.AssetKey([broken.name, BROKEN_ASSET])
    remedy = (
        f"Correct the file, check it with `curation-assets validate {shlex.quote(str(broken.path))}`, then reload the "
        f"definitions (Lineage, Reload definitions). Other pools are not affected."
    )
    description = f"This pool cannot be used.\n\n{_plain(broken.message)}\n\n{remedy}"

    @dg.multi_asset(
        name=f"{broken.name}_{BROKEN_ASSET}",
        specs=[
            dg.AssetSpec(
                key, description=description, group_name=f"{broken.name}_broken", kinds={"yaml", "broken"}
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(BROKEN_CHECK, asset=key, description="The YAML file of the pool is valid.")
        ],
        can_subset=True,
    )
    def fail(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult]:
        if context.selected_asset_check_keys:
            yield dg.AssetCheckResult(
                passed=False,
                description=broken.message,
                metadata={
                    "file": dg.MetadataValue.path(str(broken.path)),
                    "remedy": dg.MetadataValue.md(remedy),
                },
            )
        if context.selected_asset_keys:
            raise dg.Failure(f"{broken.message}\n{remedy}", allow_retries=False)

    return fail


def _plain(text: str) -> str:
    """Text as Markdown that shows it as it is, one paragraph a line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&-])", r"\\\1", text).replace("\n", "\n\n")
