"""The examples in deploy/: what cannot be run here is held to the schemas of those who would run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.load_target import WorkspaceFileTarget

from curation_assets_tests.deploy import kubernetes_schema as k8s
from curation_assets_tests.deploy.compose_schema import Compose, variables

REPOSITORY = Path(__file__).parents[2]
COMPOSE, KUBERAY = REPOSITORY / "deploy" / "compose", REPOSITORY / "deploy" / "kuberay"
PACKAGED = {"dagster", "dagster-webserver", "dagster-daemon", "ray"}
SECRET_NAMES = re.compile(r"PASSWORD|TOKEN|SECRET|ACCESS_KEY")


@pytest.fixture(scope="module")
def compose() -> Compose:
    return Compose.model_validate(yaml.safe_load(_without_anchors(COMPOSE / "docker-compose.yaml")))


def _without_anchors(path: Path) -> str:
    """The file as Compose sees it: merged, and without the extension that holds the anchors."""
    document = yaml.safe_load(path.read_text())
    return yaml.safe_dump({key: value for key, value in document.items() if not key.startswith("x-")})


@pytest.fixture(scope="module")
def manifests() -> list[k8s.Resource]:
    documents = []
    for path in sorted(KUBERAY.glob("*.yaml")):
        if path.name not in ("dagster.yaml", "workspace.yaml"):
            documents += list(yaml.safe_load_all(path.read_text()))
    return [k8s.RESOURCE.validate_python(document) for document in documents]


def of_kind(manifests: list[k8s.Resource], kind: type[Any]) -> list[Any]:
    return [manifest for manifest in manifests if isinstance(manifest, kind)]


def test_whatever_a_compose_service_names_exists(compose: Compose) -> None:
    for name, service in compose.services.items():
        assert set(service.networks) <= set(compose.networks), name
        assert set(service.depends_on) <= set(compose.services), name
        for dependency, about in service.depends_on.items():
            assert about.condition != "service_healthy" or compose.services[dependency].healthcheck
        for volume in service.volumes:
            source, target = volume.split(":")[:2] if not volume.startswith("${") else ("${", "/")
            assert target.startswith("/"), volume
            if source.startswith("."):
                assert (COMPOSE / source).exists(), volume
            elif not source.startswith("${"):
                assert source in compose.volumes, volume
        if service.build:
            context = (COMPOSE / service.build.context).resolve()
            assert context == REPOSITORY
            assert (context / service.build.dockerfile).is_file()
    used = {volume.split(":")[0] for service in compose.services.values() for volume in service.volumes}
    assert set(compose.volumes) <= used


def test_nothing_but_the_web_server_is_published_and_that_on_loopback(compose: Compose) -> None:
    published = {name: service.ports for name, service in compose.services.items() if service.ports}
    assert published == {"webserver": ["127.0.0.1:3000:3000"]}
    assert compose.networks["inside"].internal
    for name, service in compose.services.items():
        assert name == "webserver" or service.networks == ["inside"]


def test_services_find_each_other_and_share_one_token(compose: Compose) -> None:
    ours = {name: service for name, service in compose.services.items() if service.build}
    assert set(ours) == {"code-location", "webserver", "daemon", "ray-head", "ray-worker"}
    for name, service in ours.items():
        environment = service.environment
        assert environment["RAY_AUTH_MODE"] == "token", name
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?"), name
        assert environment["CURATION_RAY_ADDRESS"].split(":")[0] in compose.services
        assert environment["DAGSTER_POSTGRES_HOST"] in compose.services
        assert service.command is not None
        assert service.command[0] in PACKAGED
        assert "no-new-privileges:true" in service.security_opt
    head = compose.services["ray-head"].command or []
    assert "--port=6379" in head
    assert "--dashboard-port=8265" in head
    assert "--address=ray-head:6379" in (compose.services["ray-worker"].command or [])
    assert ours["daemon"].environment["RAY_API_SERVER_ADDRESS"] == "http://ray-head:8265"
    server = yaml.safe_load((COMPOSE / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert f"--port={server['port']}" in (compose.services[server["host"]].command or [])


def test_secrets_come_from_outside_and_every_variable_is_in_the_example() -> None:
    text = (COMPOSE / "docker-compose.yaml").read_text()
    example = dict(
        line.split("=", 1)
        for line in (COMPOSE / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    taken = {variable.name: variable.kind for variable in variables(text)}
    assert taken.keys() == example.keys()
    for name, value in example.items():
        if SECRET_NAMES.search(name):
            assert value == "", f"{name} has a value in the example"
            assert taken[name] == ":?", f"compose starts without {name}"
    assert ".env" in (REPOSITORY / ".gitignore").read_text().splitlines()


def test_the_image_holds_what_the_project_needs() -> None:
    for folder in (COMPOSE, KUBERAY):
        recipe = (folder / "Dockerfile").read_text()
        copied = {
            name for line in recipe.splitlines() if line.startswith("COPY") for name in line.split()[1:-1]
        }
        ignore = (folder / "Dockerfile.dockerignore").read_text().splitlines()
        let_in = {line[1:] for line in ignore if line.startswith("!")}
        assert "*" in ignore
        assert copied == let_in == {"pyproject.toml", "README.md", "LICENSE", "curation_assets"}
        assert all((REPOSITORY / name).exists() for name in copied)
        assert "\nUSER curation\n" in recipe
        extras = re.search(r"ARG EXTRAS=(\S+)", recipe)
        assert extras is not None
        project = (REPOSITORY / "pyproject.toml").read_text()
        assert all(re.search(rf"^{extra} = \[", project, re.M) for extra in extras[1].split(","))


def test_kustomize_names_every_manifest_and_file(manifests: list[k8s.Resource]) -> None:
    [kustomization] = of_kind(manifests, k8s.Kustomization)
    there = {path.name for path in KUBERAY.glob("*.yaml")}
    files = {name for generated in kustomization.configMapGenerator for name in generated.files}
    assert set(kustomization.resources) | files | {"kustomization.yaml"} == there
    assert kustomization.generatorOptions == {"disableNameSuffixHash": True}
    namespaces = of_kind(manifests, k8s.Namespace)
    assert [space.metadata.name for space in namespaces] == [kustomization.namespace]
    for manifest in manifests:
        if not isinstance(manifest, k8s.Kustomization | k8s.Namespace):
            assert manifest.metadata.namespace == kustomization.namespace


def test_selectors_match_the_labels_of_pods(manifests: list[k8s.Resource]) -> None:
    pods = [template.metadata.labels for manifest in manifests for template in k8s.templates(manifest)]
    for workload in of_kind(manifests, k8s.Deployment) + of_kind(manifests, k8s.StatefulSet):
        assert workload.spec.selector.selects(workload.spec.template.metadata.labels)
        # Else two workloads would fight over the same pods.
        assert sum(workload.spec.selector.selects(labels) for labels in pods) == 1
    for service in of_kind(manifests, k8s.Service):
        assert any(service.spec.selector.items() <= labels.items() for labels in pods)
    for policy in of_kind(manifests, k8s.NetworkPolicy):
        assert any(policy.spec.podSelector.selects(labels) for labels in pods), policy.metadata.name
        for ingress in policy.spec.ingress:
            for peer in ingress.from_:
                assert peer.podSelector.matchLabels, "an empty selector lets in every pod"
                assert any(peer.podSelector.selects(labels) for labels in pods), policy.metadata.name


def test_nobody_connects_but_where_a_policy_says_so(manifests: list[k8s.Resource]) -> None:
    policies = {policy.metadata.name: policy.spec for policy in of_kind(manifests, k8s.NetworkPolicy)}
    deny = policies.pop("deny-ingress")
    assert deny.podSelector.matchLabels == {}
    assert deny.policyTypes == ["Ingress"]
    assert deny.ingress == []
    open_ports = {
        (spec.podSelector.matchLabels["app.kubernetes.io/component"], port.port)
        for spec in policies.values()
        for ingress in spec.ingress
        for port in ingress.ports
    }
    assert open_ports == {("ray", 8265), ("code-location", 4000), ("postgres", 5432)}
    without_ports = [name for name, spec in policies.items() for i in spec.ingress if not i.ports]
    assert without_ports == ["ray-nodes"], "only Ray's nodes may use every port of each other"
    assert all(service.spec.type == "ClusterIP" for service in of_kind(manifests, k8s.Service))


def test_pods_get_settings_secrets_and_files_that_exist(manifests: list[k8s.Resource]) -> None:
    [kustomization] = of_kind(manifests, k8s.Kustomization)
    maps = {config.metadata.name for config in of_kind(manifests, k8s.ConfigMap)}
    maps |= {generated.name for generated in kustomization.configMapGenerator}
    by_hand = {"curation-secrets", "curation-pools"}
    guide = (REPOSITORY / "docs" / "cluster.md").read_text()
    assert "create secret generic curation-secrets" in guide
    assert "create configmap curation-pools" in guide
    images = set()
    for manifest in manifests:
        for template in k8s.templates(manifest):
            pod = template.spec
            claims = manifest.spec.volumeClaimTemplates if isinstance(manifest, k8s.StatefulSet) else []
            volumes = {volume.name for volume in pod.volumes} | {claim.metadata.name for claim in claims}
            for volume in pod.volumes:
                assert volume.configMap is None or volume.configMap.name in maps | by_hand
            for container in pod.containers:
                assert {mount.name for mount in container.volumeMounts} <= volumes
                if container.name == "postgres":
                    continue
                images.add(container.image)
                sources = {s.name for f in container.envFrom for s in (f.configMapRef, f.secretRef) if s}
                assert sources == {"curation-settings", "curation-secrets"}
                assert container.securityContext is not None
                assert container.securityContext.runAsNonRoot
                assert container.command is None or container.command[0] in PACKAGED
    assert len(images) == 1, "Dagster's pods and Ray's run one image"
    [settings] = of_kind(manifests, k8s.ConfigMap)
    assert settings.data["RAY_AUTH_MODE"] == "token"
    assert not [name for name in settings.data if SECRET_NAMES.search(name)]


def test_the_ray_cluster_is_the_one_that_settings_name(manifests: list[k8s.Resource]) -> None:
    [cluster], [settings] = of_kind(manifests, k8s.RayCluster), of_kind(manifests, k8s.ConfigMap)
    # KubeRay's name of the head's service.
    head = f"{cluster.metadata.name}-head-svc"
    assert settings.data["CURATION_RAY_ADDRESS"] == f"{head}:6379"
    assert settings.data["RAY_API_SERVER_ADDRESS"] == f"http://{head}:8265"
    assert cluster.spec.headGroupSpec.rayStartParams["num-cpus"] == "0"
    ports = {port.containerPort for port in cluster.spec.headGroupSpec.template.spec.containers[0].ports}
    assert {6379, 8265} <= ports
    for group in cluster.spec.workerGroupSpecs:
        assert group.minReplicas <= group.replicas <= group.maxReplicas
    assert f"ARG RAY_VERSION={cluster.spec.rayVersion}" in (KUBERAY / "Dockerfile").read_text()
    names = {service.metadata.name for service in of_kind(manifests, k8s.Service)}
    assert settings.data["DAGSTER_POSTGRES_HOST"] in names
    server = yaml.safe_load((KUBERAY / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert server["host"] in names


@pytest.mark.parametrize("folder", [COMPOSE, KUBERAY], ids=lambda folder: folder.name)
def test_dagster_takes_the_instance_and_no_password_travels_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("dagster_postgres")
    ray = pytest.importorskip("dagster_ray")
    from dagster_postgres.storage import DagsterPostgresStorage

    environment = {
        "DAGSTER_POSTGRES_HOST": "postgres",
        "DAGSTER_POSTGRES_PASSWORD": "not-a-real-one",
        "RAY_API_SERVER_ADDRESS": "http://head:8265",
        "CURATION_STATE": str(tmp_path),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config, _ = dagster_instance_config(str(folder))
    assert config["storage"]["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    opened: list[str] = []
    # The server that it names is not here: whatever would connect to it is left out.
    monkeypatch.setattr(
        DagsterPostgresStorage,
        "__init__",
        lambda self, postgres_url, **_: opened.append(postgres_url),
    )
    ref = InstanceRef.from_dir(str(folder))
    assert ref.storage is not None
    assert opened == ["postgresql+psycopg2://dagster:not-a-real-one@postgres:5432/dagster"]
    launcher = ref.run_launcher
    assert isinstance(launcher, ray.RayRunLauncher)
    assert launcher.address == "http://head:8265"
    assert launcher.num_cpus == 1
    assert ref.compute_log_manager is not None
    assert ref.local_artifact_storage is not None
    # Ray shows a job's command line, which holds this, to whoever may list jobs.
    assert "not-a-real-one" not in str(ref.to_dict())


@pytest.mark.parametrize("folder", [COMPOSE, KUBERAY], ids=lambda folder: folder.name)
def test_dagster_takes_the_workspace(folder: Path) -> None:
    [origin] = WorkspaceFileTarget([str(folder / "workspace.yaml")]).create_origins()
    assert origin.location_name == "curation_assets"
    assert (origin.host, origin.port) == ("code-location", 4000)
