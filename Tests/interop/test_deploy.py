# Licensed under the Apache License 2.0; see LICENSE.
"""The files of deploy/ by themselves: are they right, do they agree, and does what they configure start?"""

import fnmatch
import json
import os
import re
import shutil
import subprocess

import pytest

import front
import gateway as house
import wire

tomllib = pytest.importorskip("tomllib", reason="reads TOML: Python 3.11 or later")
DEPLOY, ROOT = front.DEPLOY, house.ROOT
KUBERNETES = DEPLOY / "kubernetes"
CONFIGURATIONS = sorted(DEPLOY.glob("*/gateway.toml"))
# Each with the folder that it is built from.
IMAGES = {"container": (DEPLOY / "container/Containerfile", ROOT),
          "nginx": (DEPLOY / "nginx/container/Containerfile", DEPLOY / "nginx")}
READ = """import json, sys, yaml
print(json.dumps([one for path in sys.argv[1:] for one in yaml.safe_load_all(open(path))]))"""


def yaml(*paths):
    """All documents of these files; read by the environment that has PyYAML."""
    ran = subprocess.run(
        [house.PYTHON["openapi"], "-c", READ, *map(str, paths)], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def toml(path):
    return tomllib.loads(path.read_text())


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def instructions(file):
    """Word and rest of each instruction, with continued lines put together and comments left out."""
    text = "\n".join(line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
    return [tuple(line.split(None, 1)) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def the(found, word):
    rests = [rest for name, rest in found if name == word]
    assert len(rests) == 1, (word, rests)
    return rests[0]


# Configurations

@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.parent.name)
def test_each_configuration_is_right(file):
    house.run("validate-config", "--strict", file)


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.parent.name)
def test_each_configuration_asks_for_tokens_and_says_its_log_aloud(file):
    tables = toml(file)
    assert tables["server"]["listen"] == ":8080" and tables["auth"] == {"mode": "token"}
    assert tables["log"]["stdout"] is True and tables["admin"]["control_socket"] == "/run/mcp-gateway/control.sock"
    assert tables["storage"]["directory"] == "/var/lib/mcp"


def test_the_configuration_of_the_image_starts_and_its_health_check_answers(tmp_path):
    text = (DEPLOY / "container/gateway.toml").read_text()
    port = house.free_port()
    (tmp_path / "gateway.toml").write_text(front.replaced(
        text, ('":8080"', f'"127.0.0.1:{port}"'), ("/run/mcp-gateway/", f"{tmp_path}/run/"),
        ("/var/lib/mcp", tmp_path / "lib"), ("/var/log/mcp-gateway", tmp_path / "log")))
    environment = {"PATH": os.environ["PATH"], "MCP_GATEWAY_CONFIG": str(tmp_path / "gateway.toml"),
                   "MCP_GATEWAY_LOG_FORMAT": "json", "MCP_GATEWAY_HOST": "gateway.example"}
    check = json.loads(re.search(r"CMD (\[.*\])", the(instructions(IMAGES["container"][0]), "HEALTHCHECK"))[1])
    place = check.index("--unix-socket") + 1
    assert check[0] == "curl" and check[place] == toml(DEPLOY / "container/gateway.toml")["admin"]["control_socket"]
    check[place] = str(tmp_path / "run/control.sock")
    healthy = lambda: subprocess.run(check, env=environment, capture_output=True, timeout=20).returncode == 0
    assert not healthy()
    with open(tmp_path / "out.txt", "wb") as out:
        process = subprocess.Popen([str(house.BINARY), "serve"], env=environment, stdout=out, stderr=out, cwd=tmp_path)
    try:
        house.eventually(healthy, 30, "the health check")
        with wire.Connection(port) as connection:
            connection.send(wire.request(
                "POST", "/mcp", wire.modern_headers("tools/list"), wire.modern_body("tools/list"), "gateway.example"))
            assert connection.response().status == 401, "the name is one of its own, and a token is wanted"
        lines = (tmp_path / "out.txt").read_text().splitlines()
        assert any(line.startswith("{") and json.loads(line) for line in lines), lines
        assert "admin_call" not in (tmp_path / "log/security.log").read_text(), "it is no order, and leaves no line"
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert not healthy()


# Images

WORDS = set("FROM ARG COPY RUN ENV USER WORKDIR VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD".split())


@pytest.mark.parametrize("image", IMAGES)
def test_each_image_is_made_of_what_is_there(image):
    file, context = IMAGES[image]
    found = instructions(file)
    assert found[0][0] == "FROM" and {name for name, _ in found} <= WORDS, found
    arguments = dict(rest.split("=", 1) for name, rest in found if name == "ARG")
    lets_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for rest in (rest for name, rest in found if name == "COPY"):
        source = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], rest.split()[0])
        if context == ROOT:
            assert any(fnmatch.fnmatch(source, one) for one in lets_in), f".dockerignore keeps {source} outside"
        if not source.startswith(".build/deb/"):  # made by `make deb`
            assert (context / source).exists(), source
    assert the(found, "USER").split(":")[0] not in ("root", "0")
    assert the(found, "EXPOSE") == "8080" and the(found, "STOPSIGNAL") == "SIGTERM"
    for word in ("ENTRYPOINT", "VOLUME"):
        for rest in (rest for name, rest in found if name == word):
            assert all(isinstance(part, str) for part in json.loads(rest))
    for script in (rest for name, rest in found if name == "RUN"):
        subprocess.run(["sh", "-n", "-c", script], check=True, timeout=10)
    assert not {"gcc", "swift", "build-essential", "make"} & set(" ".join(rest for _, rest in found).split())


def test_the_image_serves_what_it_is_configured_for():
    found = instructions(IMAGES["container"][0])
    assert json.loads(the(found, "VOLUME")) == [toml(DEPLOY / "container/gateway.toml")["storage"]["directory"]]
    assert the(found, "ENV") == "MCP_GATEWAY_CONFIG=/etc/mcp-gateway/gateway.toml"
    assert ("COPY", "deploy/container/gateway.toml /etc/mcp-gateway/gateway.toml") in found
    assert json.loads(the(found, "ENTRYPOINT"))[-1] == "mcp-gateway" and json.loads(the(found, "CMD")) == ["serve"]


# Compose

@pytest.fixture(scope="module")
def compose():
    return yaml(DEPLOY / "compose/docker-compose.yml")[0]


def test_docker_compose_takes_the_file(compose):
    command = shutil.which("docker-compose")
    if not command:
        assert os.environ.get("CI") != "true", "docker-compose is not here: apt-get install docker-compose"
        pytest.skip("docker-compose is not here: apt-get install docker-compose")
    ran = subprocess.run(
        [command, "-f", str(DEPLOY / "compose/docker-compose.yml"), "config", "--services"], capture_output=True,
        text=True, timeout=60)
    assert ran.returncode == 0 and set(ran.stdout.split()) == set(compose["services"]), ran.stderr
    assert not re.search("unsupported|obsolete|warning", ran.stderr, re.I), ran.stderr


def test_the_gateway_can_be_there_many_times(compose):
    service = compose["services"]["mcp-gateway"]
    assert not {"container_name", "ports", "hostname"} & set(service)
    assert list(compose["services"]["nginx"]["ports"]) == ["${MCP_GATEWAY_PORT:-8080}:8080"]
    assert not any("container_name" in one for one in compose["services"].values())
    assert toml(DEPLOY / "compose/gateway.toml")["storage"]["replicas"] is True, "they share one volume"


def test_compose_agrees_with_its_configuration(compose):
    service, tables = compose["services"]["mcp-gateway"], toml(DEPLOY / "compose/gateway.toml")
    assert seconds(service["stop_grace_period"]) >= seconds(tables["server"]["shutdown_grace"]) + 5
    assert tables["server"]["trusted_proxies"] == [compose["networks"]["front"]["ipam"]["config"][0]["subnet"]]
    mounts = dict(reversed(one.removesuffix(":ro").split(":")) for one in service["volumes"])
    assert mounts[tables["storage"]["directory"]] in compose["volumes"]
    assert (DEPLOY / "compose" / mounts["/etc/mcp-gateway/gateway.toml"]).samefile(DEPLOY / "compose/gateway.toml")
    writable = {one.split(":")[0]: one for one in service["tmpfs"]}
    user = re.search(r"--uid (\d+)", IMAGES["container"][0].read_text())[1]
    for place in (os.path.dirname(tables["admin"]["control_socket"]), tables["log"]["directory"]):
        assert service["read_only"] and f"uid={user}" in writable[place]
    environment = compose["services"]["nginx"]["environment"]
    assert environment["GATEWAY_NAME"] in compose["services"]
    assert environment["GATEWAY_PORT"] == tables["server"]["listen"][1:]
    for name, one in compose["services"].items():
        context = (DEPLOY / "compose" / one["build"]["context"]).resolve()
        assert (context / one["build"]["dockerfile"]).is_file(), name


def test_prometheus_finds_the_gateways_of_compose(compose, tmp_path):
    """By the lines of the README in place of the shipped job."""
    shipped = (ROOT / "monitoring/prometheus/prometheus.yml").read_text().split("scrape_configs:\n")[0]
    lines = re.search(r"```yaml\n(.*?)```", (DEPLOY / "compose/README.md").read_text(), re.S)[1]
    token = tmp_path / "token"
    token.write_text("a token")
    (tmp_path / "prometheus.yml").write_text(
        shipped + front.replaced(lines, ("/etc/prometheus/mcp-gateway.token", token)))
    for name in ("rules.yml", "escalation.yml"):
        shutil.copy(ROOT / "monitoring/prometheus" / name, tmp_path)
    ran = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    job, = yaml(tmp_path / "prometheus.yml")[0]["scrape_configs"]
    assert job["job_name"] == "mcp-gateway", "as the rules have it"
    found = job["dns_sd_configs"][0]
    assert set(found["names"]) <= set(compose["services"])
    assert f":{found['port']}" == toml(DEPLOY / "compose/gateway.toml")["server"]["listen"]


# Kubernetes

@pytest.fixture(scope="module")
def cluster():
    """What kustomization.yaml names, by kind and name."""
    top = yaml(KUBERNETES / "kustomization.yaml")[0]
    documents = yaml(*(KUBERNETES / name for name in top["resources"]))
    return top, {(one["kind"], one["metadata"]["name"]): one for one in documents}


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_each_manifest(cluster, version):
    names = [KUBERNETES / name for name in [*cluster[0]["resources"], "secret.example.yaml"]]
    ran = subprocess.run(
        [house.PYTHON["openapi"], "-m", "kubernetes_validate", "--strict", "-k", version, *map(str, names)],
        capture_output=True, text=True, timeout=60)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0 and said.count("passed for resource") == len(cluster[1]) + 1, said


def test_no_manifest_is_forgotten(cluster):
    top, _ = cluster
    there = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert set(top["resources"]) == there
    assert yaml(KUBERNETES / "secret.example.yaml")[0]["data"] == {}, "no secrets in the repository"


def test_names_labels_and_ports_meet(cluster):
    top, all_of_it = cluster
    pods = all_of_it["StatefulSet", "mcp-gateway"]["spec"]
    labels, pod = pods["template"]["metadata"]["labels"], pods["template"]["spec"]
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert pods["selector"]["matchLabels"].items() <= labels.items() and ports == {"mcp": 8080}
    for kind, name in all_of_it:
        spec = all_of_it[kind, name].get("spec", {})
        if kind == "Service":
            assert spec["selector"].items() <= labels.items()
            assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(8080, "mcp")], name
        if kind == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"].items() <= labels.items()
        if kind == "NetworkPolicy":
            assert spec["podSelector"]["matchLabels"].items() <= labels.items()
            assert spec["ingress"][0]["ports"][0]["port"] in ports
    assert {("Service", pods["serviceName"]), ("ServiceAccount", pod["serviceAccountName"])} <= all_of_it.keys()
    assert all_of_it["Service", pods["serviceName"]]["spec"]["clusterIP"] == "None"
    assert top["namespace"] == all_of_it["Namespace", "mcp-gateway"]["metadata"]["name"]
    secrets = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    assert secrets == [yaml(KUBERNETES / "secret.example.yaml")[0]["metadata"]["name"]]
    maps = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    assert maps == [top["configMapGenerator"][0]["name"]] and top["configMapGenerator"][0]["files"] == ["gateway.toml"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert pod["containers"][0][probe]["httpGet"]["port"] in ports
    monitor = yaml(KUBERNETES / "monitoring/servicemonitor.yaml")[0]["spec"]
    scraped = all_of_it["Service", "mcp-gateway-pods"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= scraped.items()
    assert monitor["endpoints"][0]["port"] in ports
    # The rules look for this job; without jobLabel the operator takes the name of the Service.
    assert scraped[monitor["jobLabel"]] == "mcp-gateway"


def test_pods_are_restricted_and_can_write_where_they_have_to(cluster):
    pods = cluster[1]["StatefulSet", "mcp-gateway"]["spec"]
    pod, tables = pods["template"]["spec"], toml(KUBERNETES / "gateway.toml")
    user = int(re.search(r"--uid (\d+)", IMAGES["container"][0].read_text())[1])
    context = pod["securityContext"]
    assert context["runAsNonRoot"] and context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert {context["runAsUser"], context["runAsGroup"], context["fsGroup"]} == {user}
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {one["metadata"]["name"] for one in pods["volumeClaimTemplates"]}
    for container in [*pod["initContainers"], *pod["containers"]]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"]
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert set(container["resources"]) == {"requests", "limits"}
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts[tables["storage"]["directory"]]["name"] == pods["volumeClaimTemplates"][0]["metadata"]["name"]
    for place in (os.path.dirname(tables["admin"]["control_socket"]), tables["log"]["directory"]):
        assert not mounts[place].get("readOnly")
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= pause + seconds(tables["server"]["shutdown_grace"]) + 5


def test_kustomize_puts_it_together():
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not here, which has kustomize built in")
    ran = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    generated = re.search(r"name: (mcp-gateway-[0-9a-z]{10})$", ran.stdout, re.M)[1]
    assert ran.stdout.count(generated) == 2, "the ConfigMap and the pods that mount it"


def test_the_same_keys_make_sessions_and_tokens_good_at_every_pod(cluster, make, tmp_path):
    """And a token that is taken back is, when each pod and the Secret hear of it."""
    first = make.gateway(sections={"auth": {"mode": "token"}})
    ann = first.caller("ann")
    session = ann.legacy()
    second = make.gateway(sections={"auth": {"mode": "token"}}, start=False)
    (second.home / "lib").mkdir()
    # What the Secret holds, by the README: two files of the first pod. The pods' own script puts them where they
    # belong.
    keys = tmp_path / "keys"
    keys.mkdir()
    script = cluster[1]["StatefulSet", "mcp-gateway"]["spec"]["template"]["spec"]["initContainers"][0]

    def make_the_secret():
        for name in ("tokens", "session.key"):
            shutil.copy(first.home / "lib/keys" / name, keys / name)

    def begin_the_second():
        text = front.replaced(script["args"][0], ('"/keys/', f'"{keys}/'), ("/var/lib/mcp", second.home / "lib"))
        subprocess.run([*script["command"], text], check=True, timeout=10)

    make_the_secret()
    for _ in range(2):  # a pod that starts again finds what was there
        begin_the_second()
    assert oct((second.home / "lib/keys/tokens").stat().st_mode)[-3:] == "600"
    second.start()
    session.gateway = second.showing(ann.token)
    assert session.request("ping")["result"] == {}, "opened at the first, good at the second"

    asked = lambda pod: pod.showing(ann.token).modern_response("tools/list").status
    revoke = lambda pod: pod.order("DELETE", "/admin/tokens/ann", socket=True)[0]
    assert revoke(first) == 200 and (asked(first), asked(second)) == (401, 200), "the second has not heard of it"
    assert revoke(second) == 200 and asked(second) == 401
    second.terminate()
    begin_the_second()
    second.start()
    assert asked(second) == 200, "the Secret as it was brings it back"
    second.terminate()
    make_the_secret()
    begin_the_second()
    second.start()
    assert asked(second) == 401


# What is written about it

ENGINE = re.compile(r"^\s*(sudo |export )?(docker|docker-compose|podman|buildah|kubectl|nginx|systemctl|ssh)\b", re.M)


@pytest.mark.parametrize("readme", sorted(DEPLOY.rglob("README.md")), ids=lambda path: path.parent.name)
def test_what_cannot_run_here_says_why(readme):
    text = readme.read_text()
    for line, block in re.findall(r"([^\n]*)\n```sh\n(.*?)```", text, re.S):
        if ENGINE.search(block):
            assert re.fullmatch(r"<!-- not run: .+ -->", line), f"without a reason: {block}"
