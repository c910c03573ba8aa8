"""The component `curation_assets.CurationPool`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel

from curation_assets.components.attributes import PoolAttributes
from curation_assets.components.scaffolding import PoolScaffolder
from curation_assets.errors import PoolSpecError
from curation_assets.pools import PoolSpec
from curation_assets.pools.loading import parse_pool
from curation_assets.pools.projects.templates import with_templates
from curation_assets.pools.yaml_files import read_documents


@dg.scaffold_with(PoolScaffolder)
@dataclass(frozen=True)
class CurationPool(dg.Component, dg.Resolvable):
    """A pool of images, texts or embeddings, curated to balanced datasets for self-supervised learning.

    The attributes are the keys of a pool file; source and targets are required. The pool gets the name of the
    component's folder, unless `name` gives another. Relative paths count from the project, the folder of its
    pyproject.toml. Outputs go to data/curated there, unless CURATION_STORAGE or the key `storage` of the table
    `tool.curation_assets` in pyproject.toml names another folder or fsspec URI.

    Args:
        spec: settings of the pool.
    """

    spec: PoolSpec

    @classmethod
    def model(cls) -> type[BaseModel]:
        """What the YAML may say."""
        return PoolAttributes

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What `dg` lists."""
        return dg.ComponentTypeSpec(tags=["curation", "self-supervised learning"])

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> CurationPool:
        """The component of a YAML.

        Raises:
            PoolSpecError: if the YAML has no attributes.
        """
        if attributes is None:
            raise PoolSpecError(
                f"{context.path}: attributes are missing: a pool needs source, targets and mostly an encoder"
            )
        return super().load(attributes, context)

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> CurationPool:
        """The component of a YAML.

        Raises:
            PoolSpecError: naming file, key and value, if settings are wrong once their templates are rendered, or a
                key is written twice.
        """
        written = model.written() if isinstance(model, PoolAttributes) else {}
        values: dict[str, Any] = with_templates(written, context.resolve_value)
        file = _file_of(context)
        if file is None:
            return cls(parse_pool(values, "the component"))
        # Dagster keeps the last of keys that are written twice.
        read_documents(file)
        return cls(parse_pool({"name": file.parent.name, **values}, str(file)))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The pool's assets, checks, jobs, sensor and schedules: those of a pool file.

        Raises:
            PoolSpecError: if a file in the project's folder of pools has the same name of a pool.
        """
        # Every code location of an environment imports this module, with or without a pool.
        from curation_assets.defs.pool_definitions import build_definitions
        from curation_assets.project import find_home, pools_of

        home = find_home(context.project_root)
        for broken in pools_of(home).broken.values():
            if broken.declares == self.spec.name:
                raise PoolSpecError(broken.message)
        return build_definitions([self.spec], home)


def _file_of(context: dg.ResolutionContext) -> Path | None:
    """The YAML that a component is read from."""
    tree = context.source_position_tree
    return Path(tree.position.filename) if tree else None
