"""deploy/kubernetes.yaml: valid for Kubernetes, and of one mind with the Dockerfile and `serve`."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
import yaml

from normalizer.cli.serve import serve
from normalizer.proxy.forward import MAX_BODY_BYTES
from tests.deploy.dockerfile import ROOT, Instruction, stages
from tests.stories.conftest import missing

DOCUMENTS = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text("utf-8")))
BY_KIND: dict[str, dict[str, Any]] = {one["kind"]: one for one in DOCUMENTS}
DEPLOYMENT = BY_KIND["Deployment"]["spec"]
POD = DEPLOYMENT["template"]["spec"]
(CONTAINER,) = POD["containers"]
IMAGE: list[Instruction] = stages()[-1]
NGINX = "nginx.ingress.kubernetes.io/"


def of_image(name: str) -> Any:
    (found,) = (one.value for one in IMAGE if one.name == name)
    return found


def options(arguments: list[str]) -> dict[str, Any]:
    """What the command line means to `serve`; it raises for one that means nothing."""
    context = click.Context(serve, info_name="serve")
    serve.parse_args(context, list(arguments))
    return context.params


SERVE = options([*of_image("ENTRYPOINT")[4:], *CONTAINER["args"]])


# What preStop's `sleep` needs, and the newest of which there are schemas here.
@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
@pytest.mark.parametrize("kind", BY_KIND)
def test_it_is_valid_for_kubernetes(kind: str, version: str) -> None:
    try:
        import kubernetes_validate
    except ModuleNotFoundError:
        missing("kubernetes-validate (.venv-ray)")
    # Strict: an unknown member is an error.
    kubernetes_validate.validate(BY_KIND[kind], version, strict=True)


def test_there_is_one_of_each_kind() -> None:
    kinds = ["Deployment", "Service", "HorizontalPodAutoscaler", "Ingress"]
    assert [one["kind"] for one in DOCUMENTS] == kinds


def test_the_names_and_labels_agree() -> None:
    labels = DEPLOYMENT["template"]["metadata"]["labels"]
    assert DEPLOYMENT["selector"]["matchLabels"].items() <= labels.items()
    assert BY_KIND["Service"]["spec"]["selector"].items() <= labels.items()
    target = BY_KIND["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    deployment = BY_KIND["Deployment"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert target["apiVersion"] == deployment["apiVersion"]
    # The autoscaler's number would be overwritten by every `kubectl apply`.
    assert "replicas" not in DEPLOYMENT


def test_the_ports_agree() -> None:
    (port,) = CONTAINER["ports"]
    assert str(port["containerPort"]) == of_image("EXPOSE") == str(SERVE["port"])
    assert SERVE["host"] == "0.0.0.0"
    annotations = DEPLOYMENT["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == of_image("EXPOSE")
    (of_service,) = BY_KIND["Service"]["spec"]["ports"]
    assert of_service["targetPort"] == port["name"]
    (rule,) = BY_KIND["Ingress"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = path["backend"]["service"]
    assert service == {
        "name": BY_KIND["Service"]["metadata"]["name"],
        "port": {"name": of_service["name"]},
    }


@pytest.mark.parametrize("probe", ["readinessProbe", "livenessProbe"])
def test_the_probes_ask_the_health_page(probe: str) -> None:
    asked = CONTAINER[probe]["httpGet"]
    assert asked == {"path": "/healthz", "port": CONTAINER["ports"][0]["name"]}
    assert "'GET', '/healthz'" in of_image("HEALTHCHECK")[-1]


def test_open_streams_have_the_time_to_end() -> None:
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert SERVE["grace"] >= SERVE["read_timeout"]
    assert POD["terminationGracePeriodSeconds"] >= before + SERVE["grace"] + 10


def test_it_is_no_root_and_writes_nothing() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", of_image("USER"))
    assert POD["securityContext"]["runAsNonRoot"] is True
    context = CONTAINER["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    (volume,) = POD["volumes"]
    assert CONTAINER["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]  # noqa: S108
    assert "emptyDir" in volume


def test_the_autoscaler_can_divide_by_the_request() -> None:
    (metric,) = BY_KIND["HorizontalPodAutoscaler"]["spec"]["metrics"]
    request = CONTAINER["resources"]["requests"][metric["resource"]["name"]]
    share = metric["resource"]["target"]["averageUtilization"] / 100
    # A worker has one core, so a target above it would never be reached.
    assert SERVE["workers"] == 1
    assert int(request.removesuffix("m")) * share < 1000 * SERVE["workers"]


def test_the_ingress_streams() -> None:
    found = BY_KIND["Ingress"]["metadata"]["annotations"]
    assert found[NGINX + "proxy-buffering"] == "off"
    assert found[NGINX + "proxy-request-buffering"] == "off"
    for name in ("proxy-read-timeout", "proxy-send-timeout"):
        assert float(found[NGINX + name]) > SERVE["read_timeout"]
    assert found[NGINX + "proxy-body-size"] == f"{MAX_BODY_BYTES // 2**20}m"
