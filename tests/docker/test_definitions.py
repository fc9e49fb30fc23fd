"""What is deployed is well formed by the schemas of those who will read it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
MANIFESTS = sorted(path for path in (DOCKER / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    program, *rest = map(str, command)
    return subprocess.run([Path(sys.executable).parent / program, *rest], capture_output=True, text=True, check=False)


def test_the_image_has_no_finding() -> None:
    done = run("hadolint", "--failure-threshold", "style", DOCKER / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_compose_follows_its_specification() -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")
    assert done.returncode == 0, done.stdout


def test_there_are_manifests_and_kustomize_lists_them_all() -> None:
    listed = yaml.safe_load((DOCKER / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]
    assert len(MANIFESTS) == 4


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_is_valid_to_the_last_field(manifest: Path) -> None:
    done = run("kubernetes-validate", "--strict", manifest)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_pod_is_told_of_services_in_variables_that_look_like_settings() -> None:
    pods = [
        document["spec"]["template"]["spec"]
        for manifest in MANIFESTS
        for document in yaml.safe_load_all(manifest.read_text())
        if document["kind"] in {"Deployment", "Job"}
    ]
    assert [pod["enableServiceLinks"] for pod in pods] == [False] * 3


def test_a_manifest_with_a_misspelt_field_is_not(tmp_path: Path) -> None:
    bad = tmp_path / "api.yaml"
    bad.write_text((DOCKER / "kubernetes/api.yaml").read_text().replace("replicas:", "replica:"))
    assert run("kubernetes-validate", "--strict", bad).returncode != 0


def test_whatever_a_container_is_told_to_do_its_entry_point_knows() -> None:
    known = set(re.findall(r"^    (\w+)\)", (DOCKER / "start.sh").read_text(), re.MULTILINE))
    assert known == {"api", "worker", "all", "migrate"}
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    told = {
        service["command"][0] for service in services.values() if "command" in service and "entrypoint" not in service
    }
    for manifest in MANIFESTS:
        for document in yaml.safe_load_all(manifest.read_text()):
            containers = document["spec"].get("template", {}).get("spec", {}).get("containers", [])
            told |= {container["args"][0] for container in containers}
    assert told == {"api", "worker", "migrate"}
