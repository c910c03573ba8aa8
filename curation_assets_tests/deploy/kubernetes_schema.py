"""The kinds that deploy/kuberay uses, with the fields they need; any other field is an error."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Labels = dict[Annotated[str, Field(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9._-]+$")], str]
Port = Annotated[int, Field(ge=1, le=65535)]
Cpu = Annotated[str, Field(pattern=r"^\d+(\.\d+)?m?$", coerce_numbers_to_str=True)]
Memory = Annotated[str, Field(pattern=r"^\d+(Mi|Gi)$")]


class Part(BaseModel):
    """Fields of one object."""

    model_config = ConfigDict(extra="forbid")


class Metadata(Part):
    name: Name
    namespace: Name | None = None
    labels: Labels = Field(default_factory=dict)


class Named(Part):
    name: Name


class Requests(Part):
    cpu: Cpu
    memory: Memory


class Limits(Part):
    memory: Memory


class Resources(Part):
    requests: Requests
    limits: Limits


class KeyReference(Part):
    name: Name
    key: str


class ValueSource(Part):
    secretKeyRef: KeyReference  # noqa: N815 - as Kubernetes spells it


class Variable(Part):
    name: str
    value: str | None = None
    valueFrom: ValueSource | None = None  # noqa: N815


class VariableSource(Part):
    configMapRef: Named | None = None  # noqa: N815
    secretRef: Named | None = None  # noqa: N815


class ContainerPort(Part):
    name: Annotated[str, Field(max_length=15)]
    containerPort: Port  # noqa: N815


class Probe(Part):
    exec: dict[Literal["command"], list[str]] | None = None
    httpGet: dict[str, Any] | None = None  # noqa: N815
    initialDelaySeconds: int = 0  # noqa: N815
    periodSeconds: int = 10  # noqa: N815
    timeoutSeconds: int = 1  # noqa: N815


class SecurityContext(Part):
    allowPrivilegeEscalation: bool  # noqa: N815
    runAsNonRoot: bool  # noqa: N815
    runAsUser: int  # noqa: N815
    capabilities: dict[Literal["drop"], list[str]]


class Mount(Part):
    name: Name
    mountPath: Annotated[str, Field(pattern="^/")]  # noqa: N815
    subPath: str | None = None  # noqa: N815
    readOnly: bool = False  # noqa: N815


class Container(Part):
    name: Name
    image: str
    command: list[str] | None = None
    env: list[Variable] = Field(default_factory=list)
    envFrom: list[VariableSource] = Field(default_factory=list)  # noqa: N815
    ports: list[ContainerPort] = Field(default_factory=list)
    readinessProbe: Probe | None = None  # noqa: N815
    livenessProbe: Probe | None = None  # noqa: N815
    resources: Resources
    securityContext: SecurityContext | None = None  # noqa: N815
    volumeMounts: list[Mount] = Field(default_factory=list)  # noqa: N815


class Volume(Part):
    name: Name
    configMap: Named | None = None  # noqa: N815
    emptyDir: dict[str, Any] | None = None  # noqa: N815


class PodSpec(Part):
    automountServiceAccountToken: Literal[False]  # noqa: N815
    containers: Annotated[list[Container], Field(min_length=1)]
    volumes: list[Volume] = Field(default_factory=list)


class TemplateMetadata(Part):
    labels: Annotated[Labels, Field(min_length=1)]


class PodTemplate(Part):
    metadata: TemplateMetadata
    spec: PodSpec


class Selector(Part):
    matchLabels: Labels = Field(default_factory=dict)  # noqa: N815

    def selects(self, labels: dict[str, str]) -> bool:
        return self.matchLabels.items() <= labels.items()


class Claim(Part):
    metadata: Named
    spec: dict[str, Any]


class WorkloadSpec(Part):
    replicas: int
    selector: Selector
    template: PodTemplate
    strategy: dict[str, str] | None = None
    serviceName: Name | None = None  # noqa: N815
    volumeClaimTemplates: list[Claim] = Field(default_factory=list)  # noqa: N815


class Deployment(Part):
    apiVersion: Literal["apps/v1"]  # noqa: N815
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: WorkloadSpec


class StatefulSet(Part):
    apiVersion: Literal["apps/v1"]  # noqa: N815
    kind: Literal["StatefulSet"]
    metadata: Metadata
    spec: WorkloadSpec


class ServicePort(Part):
    name: Name
    port: Port
    targetPort: Port  # noqa: N815


class ServiceSpec(Part):
    type: Literal["ClusterIP"] = "ClusterIP"
    selector: Annotated[Labels, Field(min_length=1)]
    ports: Annotated[list[ServicePort], Field(min_length=1)]


class Service(Part):
    apiVersion: Literal["v1"]  # noqa: N815
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class ConfigMap(Part):
    apiVersion: Literal["v1"]  # noqa: N815
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[str, str]


class Namespace(Part):
    apiVersion: Literal["v1"]  # noqa: N815
    kind: Literal["Namespace"]
    metadata: Metadata


class Peer(Part):
    podSelector: Selector  # noqa: N815


class PolicyPort(Part):
    protocol: Literal["TCP"]
    port: Port


class Ingress(Part):
    from_: Annotated[list[Peer], Field(min_length=1, alias="from")]
    ports: list[PolicyPort] = Field(default_factory=list)


class PolicySpec(Part):
    podSelector: Selector  # noqa: N815
    policyTypes: Annotated[list[Literal["Ingress", "Egress"]], Field(min_length=1)]  # noqa: N815
    ingress: list[Ingress] = Field(default_factory=list)


class NetworkPolicy(Part):
    apiVersion: Literal["networking.k8s.io/v1"]  # noqa: N815
    kind: Literal["NetworkPolicy"]
    metadata: Metadata
    spec: PolicySpec


class HeadGroup(Part):
    serviceType: Literal["ClusterIP"]  # noqa: N815
    rayStartParams: dict[str, Annotated[str, Field(strict=True)]]  # noqa: N815
    template: PodTemplate


class WorkerGroup(Part):
    groupName: Name  # noqa: N815
    replicas: int
    minReplicas: int  # noqa: N815
    maxReplicas: int  # noqa: N815
    rayStartParams: dict[str, Annotated[str, Field(strict=True)]]  # noqa: N815
    template: PodTemplate


class RayClusterSpec(Part):
    rayVersion: Annotated[str, Field(pattern=re.compile(r"^\d+\.\d+\.\d+$"), strict=True)]  # noqa: N815
    headGroupSpec: HeadGroup  # noqa: N815
    workerGroupSpecs: Annotated[list[WorkerGroup], Field(min_length=1)]  # noqa: N815


class RayCluster(Part):
    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: RayClusterSpec


class ConfigMapFiles(Part):
    name: Name
    files: list[str]


class Kustomization(Part):
    apiVersion: Literal["kustomize.config.k8s.io/v1beta1"]  # noqa: N815
    kind: Literal["Kustomization"]
    namespace: Name
    resources: list[str]
    configMapGenerator: list[ConfigMapFiles]  # noqa: N815
    generatorOptions: dict[str, bool]  # noqa: N815


Resource = (
    Deployment | StatefulSet | Service | ConfigMap | Namespace | NetworkPolicy | RayCluster | Kustomization
)
RESOURCE: TypeAdapter[Any] = TypeAdapter(Annotated[Resource, Field(discriminator="kind")])


def templates(resource: Resource) -> list[PodTemplate]:
    """Templates of the pods that a resource makes."""
    if isinstance(resource, Deployment | StatefulSet):
        return [resource.spec.template]
    if isinstance(resource, RayCluster):
        groups = resource.spec.workerGroupSpecs
        return [resource.spec.headGroupSpec.template, *(group.template for group in groups)]
    return []
