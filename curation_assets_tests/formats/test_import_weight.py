from __future__ import annotations

import subprocess
import sys

MODULES = ["embeddings", "images", "listing", "parquet", "tar_members", "webdataset", "webdataset_writer"]


def test_formats_import_neither_torch_nor_the_libraries_they_write_for():
    imports = "; ".join(f"import curation_assets.formats.{name}" for name in MODULES)
    program = (
        f"{imports}; import sys; print(sorted({{'torch', 'webdataset', 'datasets'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
