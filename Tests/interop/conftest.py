# Licensed under the Apache License 2.0; see LICENSE.
import shutil
import tempfile

import pytest

import conformance
import gateway as house
import scripted


def pytest_ignore_collect(collection_path, config):
    """Direct mode has no gateway, so whatever needs one is left aside."""
    kinds = ("test_conformance", "test_bridge", "test_fixtures")
    if conformance.DIRECT and collection_path.name.startswith("test_") and not collection_path.name.startswith(kinds):
        return True


def pytest_configure(config):
    if conformance.DIRECT:
        return  # the fixture servers alone are tested, see README.md
    if not house.BINARY.exists():
        pytest.exit(f"there is no executable at {house.BINARY}; build it first with: swift build", 2)
    missing = [name for name in ("text", "units", "checksum") if not (house.MODULES / f"{name}.wasm").exists()]
    if missing:
        pytest.exit(f"the example tools {missing} are not built; run scripts/build-tools first", 2)


@pytest.fixture(scope="session")
def wasm_cache():
    """One cache of compiled modules for the whole run, so that each module is compiled once."""
    place = tempfile.mkdtemp(prefix="gwc-")
    yield place
    shutil.rmtree(place, ignore_errors=True)


class Makers:
    def __init__(self, wasm_cache):
        self.wasm_cache, self.closers = wasm_cache, []

    def gateway(self, upstreams=None, tools=(), sections=None, start=True, cold=False):
        one = house.Gateway(upstreams, tools, sections, None if cold else self.wasm_cache)
        self.closers.append(one.close)
        return one.start() if start else one

    def server(self, one):
        self.closers.append(one.kill)
        return one.start()

    def scripted(self, kind=scripted.Quiet):
        """The address of a scripted upstream in this process. A test may close its gate by `scripted.gate.clear()`; it is open at the end."""
        one = scripted.serve_in_thread(kind=kind)
        self.closers += [one.server_close, one.shutdown, scripted.gate.set]
        return f"http://127.0.0.1:{one.server_address[1]}/mcp"

    def guarded(self, **server):
        """A gateway that asks for tokens, and has a tool."""
        one = self.gateway(tools=["text"], sections={"auth": {"mode": "token"}, "server": server})
        one.caller("starter").wait_for_tools("text__echo")
        return one

    def later(self, closer):
        self.closers.append(closer)

    def close(self):
        for closer in reversed(self.closers):
            closer()


@pytest.fixture
def make(wasm_cache):
    makers = Makers(wasm_cache)
    yield makers
    makers.close()


@pytest.fixture(scope="module")
def make_once(wasm_cache):
    makers = Makers(wasm_cache)
    yield makers
    makers.close()


@pytest.fixture(scope="session")
def fixture_servers():
    """One HTTP fixture server of each generation for the whole run, started when first asked for."""
    running = {}

    def server(kind):
        if kind not in running:
            running[kind] = conformance.fixture_server(kind).start()
        return running[kind]

    yield server
    for one in running.values():
        one.kill()


@pytest.fixture(scope="module")
def target(request, fixture_servers, wasm_cache):
    """A gateway in front of the fixture server that the parameter names, or that server itself in direct mode."""
    name = request.param
    if conformance.DIRECT:
        yield conformance.Target(name, fixture_servers(name.split("-")[0]).port)
        return
    with conformance.upstream_of(name, fixture_servers) as upstream:
        gateway = house.Gateway({"up": upstream}, wasm_cache=wasm_cache)
        try:
            gateway.start().wait_for_tools("about")
            yield conformance.Target(name, gateway.port, gateway)
        finally:
            gateway.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what its gateways printed."""
    report = yield
    if report.when == "call" and report.failed:
        seen = set()
        for value in item.funcargs.values():
            gateways = [value] if isinstance(value, house.Gateway) else []
            if isinstance(value, conformance.Target) and value.gateway:
                gateways = [value.gateway]
            if isinstance(value, Makers):
                gateways = [one.__self__ for one in value.closers if isinstance(getattr(one, "__self__", None), house.Gateway)]
            for one in gateways:
                if id(one) not in seen and one.home.exists():
                    seen.add(id(one))
                    report.sections.append((f"gateway on {one.port}", one.stdout()[-4000:]))
    return report
