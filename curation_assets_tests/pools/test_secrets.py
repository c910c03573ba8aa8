"""Secrets in URIs: refused wherever a pool file or the storage names one, and never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.errors import PoolSpecError
from curation_assets.pools.loading import load_pool_spec
from curation_assets.pools.secrets import redacted, secret_of, shown
from curation_assets.project import find_home

SECRET = "hunter2Zz"
WITH_SECRETS = [
    f"s3://AKIA:{SECRET}@bucket/x",
    f"s3://AKIA:{SECRET}/a@bucket/x",
    f"https://{SECRET}@host/x",
    f"simplecache::ftp://me:{SECRET}@host/x",
    f"https://acc.blob.core.windows.net/c?sv=2024&sig={SECRET}",
    f"https://host/x?token={SECRET}",
    f"hf://datasets/x?token={SECRET}",
    f"https://host/x?a=1&access_token={SECRET}#top",
    f"https://host/x#token={SECRET}",
    f"https://b.s3.amazonaws.com/x?X-Amz-Credential=a&X-Amz-Signature={SECRET}",
    f"https://b.s3.amazonaws.com/x?x-amz-security-token={SECRET}",
    f"https://storage.googleapis.com/b/x?X-Goog-Signature={SECRET}",
    f"https://b.s3.amazonaws.com/x?AWSAccessKeyId=a&Signature={SECRET}",
    f"https://host/x?api-key={SECRET}",
    f"https://host/x?client_secret={SECRET}",
    f"https://host/x%3Fsig%3D{SECRET}",
    f"abfs://c@a.dfs.core.windows.net/x;AccountKey={SECRET}==",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}==;EndpointSuffix=core.windows.net",
    f"zip://*::https://host/x.zip?sig={SECRET}",
]
WITHOUT = [
    "s3://bucket/key=abc/token=1/dt=2024-01-01/*.parquet",
    "https://host/x?version=3&page=2",
    "hf://datasets/user/name@main/data",
    "abfs://container@account.dfs.core.windows.net/x",
    "http://host:8080/a@b/x",
    "https://host/x?sig=",
    "data/raw/images?token=abc",
    "/data/a#key=1",
    "data/me@home",
    "see https://host and write to me@host",
]


@pytest.mark.parametrize("uri", WITH_SECRETS)
def test_a_secret_is_found_and_hidden(uri):
    found = secret_of(uri)
    assert found
    assert SECRET not in found
    hidden = redacted(f"storage of {uri} failed")
    assert SECRET not in hidden
    assert secret_of(hidden.replace("***", "")) is None


@pytest.mark.parametrize("uri", WITHOUT)
def test_what_holds_none_stays_as_it_is(uri):
    assert secret_of(uri) is None
    if "://" in uri:
        assert redacted(uri) == uri


def pool(**changes: Any) -> dict[str, Any]:
    source = {"format": "folder", "modality": "image", "path": "a"}
    return {
        "source": source,
        "encoder": {"kind": "bundled"},
        "targets": [{"name": "t", "size": 5}],
        **changes,
    }


def places(uri: str) -> dict[str, dict[str, Any]]:
    source = {"format": "folder", "modality": "image", "path": uri}
    sets = [{"name": "e", "source": source}]
    return {
        "source.path": pool(source=source),
        "decontamination.evaluation_sets": pool(decontamination={"evaluation_sets": sets}),
        "probe.labels.path": pool(probe={"labels": {"path": uri}}),
        "probe.command": pool(probe={"command": ["python", "train.py", uri]}),
        "encoder.model": pool(encoder={"kind": "timm", "model": uri}),
        "description": pool(description=f"from {uri}"),
        "source.storage_options": pool(source={**source, "path": "a", "storage_options": {"secret": SECRET}}),
        "source.path: no text": pool(source={**source, "path": {"uri": uri, "secret": SECRET}}),
        "unknown": pool(unknown=uri),
        "password": pool(password=SECRET),
    }


@pytest.mark.parametrize("uri", [WITH_SECRETS[0], WITH_SECRETS[4], WITH_SECRETS[17]])
def test_a_pool_file_with_a_secret_is_refused_and_the_error_does_not_repeat_it(tmp_path, uri):
    for place, settings in places(uri).items():
        (tmp_path / "web.yaml").write_text(yaml.safe_dump(settings))
        with pytest.raises(PoolSpecError) as raised:
            load_pool_spec(tmp_path / "web.yaml")
        assert SECRET not in str(raised.value), place
        if not place.startswith(("source.storage", "source.path: no", "unknown", "password")):
            assert "holds credentials" in str(raised.value), place
            assert "AWS_ACCESS_KEY_ID" in str(raised.value), place


@pytest.mark.parametrize(
    "text",
    [
        f"path: 's3://a:{SECRET}@b",
        f"s3://a:{SECRET}@b/x",
        f"[https://a/?sig={SECRET}]",
        f"a: b: ?sig={SECRET}",
    ],
)
def test_a_file_that_is_no_yaml_of_a_pool_does_not_show_a_secret(tmp_path, text):
    (tmp_path / "web.yaml").write_text(text)
    with pytest.raises(PoolSpecError) as raised:
        load_pool_spec(tmp_path / "web.yaml")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("uri", WITH_SECRETS)
def test_a_storage_with_a_secret_is_refused(monkeypatch, uri):
    monkeypatch.setenv("CURATION_STORAGE", uri)
    with pytest.raises(PoolSpecError, match="CURATION_STORAGE holds credentials") as raised:
        find_home()
    assert SECRET not in str(raised.value)


def test_settings_are_shown_without_secrets():
    settings = {"path": f"https://a/x?sig={SECRET}", "n": 3, "sets": [{"path": f"s3://a:{SECRET}@b"}]}
    assert shown(settings) == {"path": "https://a/x?sig=***", "n": 3, "sets": [{"path": "s3://***@b"}]}
    endless: list[Any] = []
    endless.append(endless)
    assert str(shown(endless)).count("[") == 12
    assert shown({"api_key": SECRET, "max_tokens": 64, "tokenizer": "t"}) == {
        "api_key": "***",
        "max_tokens": 64,
        "tokenizer": "t",
    }


@given(st.text(st.sampled_from(":/@?&;#=% abAkeysigtoken1"), max_size=40))
def test_what_is_hidden_holds_no_secret(text):
    assert secret_of(redacted(text).replace("***", "")) is None
    assert Path(redacted("a/b")) == Path("a/b")
