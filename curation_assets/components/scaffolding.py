"""`dg scaffold defs curation_assets.CurationPool NAME`: a commented YAML to start from."""

from __future__ import annotations

from typing import Literal

import dagster as dg
from pydantic import BaseModel, Field

from curation_assets.pools.projects.examples import pool_example
from curation_assets.pools.yaml_files import read_documents


class ScaffoldParams(BaseModel):
    """Options of `dg scaffold defs curation_assets.CurationPool`."""

    source: Literal["images", "text", "embeddings"] = Field(
        "images", description="What the pool holds: images, text or embeddings."
    )
    path: str | None = Field(None, description="Folder or fsspec URI of the pool's files.")


class PoolScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes `defs.yaml`."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        """The options."""
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Write the YAML of a component whose attributes are an example of a pool."""
        if request.scaffold_format != "yaml":
            raise dg.DagsterInvalidDefinitionError("a pool is described in YAML: use --format yaml")
        params = request.params
        folder = request.target_path.parent if request.append else request.target_path
        path = params.path or f"data/raw/{folder.name}"
        example = pool_example(params.source, path, request.project_root)
        indented = "".join(
            f"  {line}" if line.strip() else line for line in example.splitlines(keepends=True)
        )
        text = f"type: {request.type_name}\n\nattributes:\n{indented}"
        if request.append:
            number = len(read_documents(request.target_path)) + 1
            named = text.replace("attributes:\n", f"attributes:\n  name: {folder.name}_{number}\n\n", 1)
            with request.target_path.open("a", encoding="utf-8") as file:
                file.write(f"---\n{named}")
        else:
            (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")
