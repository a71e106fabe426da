"""Stack: a real control plane and N real agents on free ports, in one temporary directory, wired up and cleaned up.

    with Stack(agents=2, engine=engine) as stack:
        stack.import_busybox(archive)
        sandbox = stack.api.create_sandbox("busybox")
        assert stack.api.exec(sandbox, ["echo", "hi"]).check() == "hi\n"

Everything a stack makes can be told from everybody else's: containers carry the host ids of its agents, images the
digests of its blueprints, files lie in its directory. close() removes exactly that, and says so when something is left.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from .api import ApiClient
from .docker_engine import DEFAULT_SOCKET, DockerEngine
from .processes import ManagedProcess, find_binary, free_port, run_tool
from .waiting import wait_until

HOST_ID = re.compile(r"hst_[0-9a-hjkmnp-tv-z]{20}")
IMAGE_REPOSITORY = "gstacks.local/blueprint"


# Tests remove what they made at their end, all of it at once, often after the agent was restarted: to a host with the usual
# fence that is a mass deletion. Tests of the fence write their own limits.
AGENT_CONFIG = "deletionFence: {percent: 100}  # never holds a deletion\n"


class Server:
    """gstacks-server with its data directory. Ports stay the same over restarts."""

    def __init__(self, directory, name="server", args=(), env=None):
        self.directory = Path(directory)
        self.data_dir = self.directory / "data"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.http_port, self.agent_port = free_port(), free_port()
        self.base_url = f"http://127.0.0.1:{self.http_port}"
        self.agent_url = f"https://127.0.0.1:{self.agent_port}"
        self.api_key_file = self.directory / "api-key"
        self.binary = find_binary("gstacks-server")
        self.process = ManagedProcess(
            name, [self.binary, "serve", "--data-dir", self.data_dir, "--http", f"127.0.0.1:{self.http_port}",
                   "--agent", f"127.0.0.1:{self.agent_port}", *args],
            self.directory / f"{name}.log", env)

    def init(self):
        run_tool([self.binary, "init", "--data-dir", self.data_dir, "--api-key-file", self.api_key_file])
        return self.api_key

    @property
    def api_key(self):
        return self.api_key_file.read_text().strip()

    def create_tenant(self, name):
        """A second tenant; returns its admin's API key."""
        key_file = self.directory / f"api-key-{name}"
        run_tool([self.binary, "tenant", "create", "--data-dir", self.data_dir, "--name", name, "--api-key-file", key_file])
        return key_file.read_text().strip()

    def start(self, timeout=30, **extra_env):
        self.process.start(extra_env)
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=30):
        client = ApiClient(self.base_url, timeout=5)

        def ready():
            if not self.process.alive:
                raise RuntimeError(f"gstacks-server exited with {self.process.returncode}")
            return client.raw("GET", "/api/health").status_code == 200

        _wait_with_log(self.process, ready, timeout, "the server being ready")

    def kill(self):
        self.process.kill()

    def stop(self):
        return self.process.stop()

    def restart(self, how="kill"):
        """As after a crash ("kill") or an upgrade ("stop")."""
        getattr(self, how)()
        return self.start()

    def database(self):
        return self.data_dir / "server.db"


class Agent:
    """gstacks-agent with its own state and run directory: one host."""

    def __init__(self, directory, server_url, docker_socket=DEFAULT_SOCKET, name="agent", args=(), env=None, config=AGENT_CONFIG):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.state_dir = self.directory / "state"
        self.run_dir = self.directory / "run"
        self.server_url = server_url
        self.docker_socket = str(docker_socket)
        self.binary = find_binary("gstacks-agent")
        # A config of its own, or the machine's /etc/gstacks/agent.yaml would take part in the test.
        self.config_file = self.directory / "agent.yaml"
        self.config_file.write_text(config)
        self._common = ["--config", self.config_file, "--state-dir", self.state_dir, "--run-dir", self.run_dir]
        self.process = ManagedProcess(
            name, [self.binary, "run", *self._common, "--docker-socket", self.docker_socket,
                   "--guest", find_binary("gstacks-guest"), *args],
            self.directory / f"{name}.log", env)

    def try_enroll(self, token, server_url=None, timeout=60):
        """Returns the finished process, whatever its exit code."""
        token_file = self.directory / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(token)
        try:
            return run_tool([self.binary, "enroll", *self._common, "--server", server_url or self.server_url,
                             "--token-file", token_file, "--name", self.name], check=False, timeout=timeout)
        finally:
            token_file.unlink()

    def enroll(self, token):
        """Returns the host id."""
        done = self.try_enroll(token)
        assert done.returncode == 0, f"enroll exited with {done.returncode}: {done.stdout}{done.stderr}"
        return self.host_id

    @property
    def host_id(self):
        """None before enrollment."""
        identity = self.state_dir / "identity" / "host.json"
        found = HOST_ID.search(identity.read_text()) if identity.exists() else None
        return found.group() if found else None

    def start(self, **extra_env):
        self.process.start(extra_env)
        return self

    def start_with_crash_point(self, point):
        """The agent kills itself at this named point ("name" or "name:nth"); wait_exit() then returns -9."""
        return self.start(GSTACKS_CRASH_POINT=point)

    def kill(self):
        self.process.kill()

    def stop(self):
        return self.process.stop()

    def restart(self, how="kill"):
        getattr(self, how)()
        return self.start()

    def database(self):
        return self.state_dir / "agent.db"

    def containers(self):
        """This host's containers, as the engine sees them."""
        if not self.host_id:
            return []
        return DockerEngine(self.docker_socket).containers(gstacks_managed="1", gstacks_host=self.host_id)


class Cli:
    """gstacks with a config file of its own."""

    def __init__(self, directory, base_url, api_key):
        self.binary = find_binary("gstacks")
        self.config_file = Path(directory) / f"cli-{os.urandom(4).hex()}.json"
        self.run("auth", "login", "--base-url", base_url, "--api-key-file", "-", stdin=api_key)

    def try_run(self, *args, stdin=None, timeout=120, env=None):
        """Returns the finished process, whatever its exit code."""
        return run_tool([self.binary, "--config-file", self.config_file, *args], check=False, stdin=stdin, timeout=timeout, env=env)

    def run(self, *args, **options):
        """Returns standard output; a failure shows both outputs."""
        done = self.try_run(*args, **options)
        assert done.returncode == 0, f"gstacks {' '.join(map(str, args))} exited with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout


class Stack:
    """See the module. `engine` is the DockerEngine (or its socket path) that the agents drive."""

    live = []  # for the failure report

    def __init__(self, agents=1, engine=None, server_args=(), server_env=None, agent_args=(), agent_env=None, agent_config=AGENT_CONFIG, start=True):
        # Unix socket paths are limited to 107 bytes: short names, and not below pytest's long directories.
        self.directory = Path(tempfile.mkdtemp(prefix="gs-", dir="/tmp"))
        self.docker_socket = getattr(engine, "socket_path", engine) or DEFAULT_SOCKET
        self.engine = DockerEngine(self.docker_socket)
        self.agents = []
        self._agent_args, self._agent_env, self._agent_config = agent_args, agent_env, agent_config
        self._image_references = set()
        self._clients = []
        self.server = Server(self.directory / "s", args=server_args, env=server_env)
        Stack.live.append(self)
        try:
            self.server.init()
            self.server.start()
            self.api = self.client(self.server.api_key)
            for _ in range(agents):
                self.add_agent(start=start)
            if start:
                self.wait_connected()
        except BaseException:
            print(self.logs())
            self.close(check=False)
            raise

    # Building it up

    def client(self, api_key):
        return ApiClient(self.server.base_url, api_key)

    def cli(self, api_key=None):
        return Cli(self.directory, self.server.base_url, api_key or self.server.api_key)

    def new_agent(self, **options):
        """An agent that is neither enrolled nor started."""
        name = f"h{len(self.agents)}"
        options.setdefault("args", self._agent_args)
        options.setdefault("env", self._agent_env)
        options.setdefault("config", self._agent_config)
        options.setdefault("docker_socket", self.docker_socket)
        agent = Agent(self.directory / name, self.server.agent_url, name=name, **options)
        self.agents.append(agent)
        return agent

    def add_agent(self, start=True, cluster_id=None, api=None, **options):
        """An enrolled agent, started unless told otherwise."""
        agent = self.new_agent(**options)
        agent.enroll((api or self.api).create_token(cluster_id)["token"])
        if start:
            agent.start()
        return agent

    @property
    def agent(self):
        return self.agents[0]

    def import_blueprint(self, archive, name="busybox", api=None):
        blueprint = (api or self.api).create_blueprint(name, archive)
        self.remember_blueprint(blueprint)
        return blueprint

    def remember_blueprint(self, blueprint):
        """For blueprints made by other ways: their images are removed from the engine at the end."""
        self._image_references.add(self.image_reference(blueprint))

    def remove_images(self, keep):
        """Those that were remembered and are of none of the blueprints to keep."""
        gone = self._image_references - {self.image_reference(blueprint) for blueprint in keep}
        self._image_references -= {reference for reference in gone if self.engine.remove_image(reference)}

    @staticmethod
    def image_reference(blueprint):
        return f"{IMAGE_REPOSITORY}:{blueprint['digest'].removeprefix('sha256:')}"

    # Waiting

    def host_state(self, agent=None):
        return self.api.host((agent or self.agent).host_id)["state"]

    def wait_connected(self, *agents, timeout=30):
        for agent in agents or self.agents:
            _wait_with_log(agent.process, lambda: self.host_state(agent) == "connected", timeout, f"{agent.name} being connected")

    def wait_disconnected(self, agent=None, timeout=15):
        wait_until(lambda: self.host_state(agent) == "disconnected", timeout, "the host being disconnected")

    def runtime(self, name="docker", agent=None):
        """What the host reports about a runtime."""
        return next(r for r in self.api.host((agent or self.agent).host_id)["runtimes"] if r["name"] == name)

    # Taking it down

    def logs(self):
        return "\n".join(p.log_tail() for p in [self.server.process, *(agent.process for agent in self.agents)])

    def close(self, check=True):
        """Ends the processes, removes this stack's containers, images and files. Safe to repeat."""
        problems = []
        if self in Stack.live:
            Stack.live.remove(self)
        # Agents first, and by force: one that still runs would bring back the containers that are removed next.
        for agent in self.agents:
            agent.process.resume()
            agent.kill()
        self.server.process.resume()
        self.server.kill()
        for socket_path in {agent.docker_socket for agent in self.agents}:
            engine = DockerEngine(socket_path)
            if engine.why_not_usable():
                continue  # a private engine that the test took down takes its containers along
            for agent in self.agents:
                if agent.docker_socket == socket_path:
                    for container in agent.containers():
                        engine.remove(container["Id"])
                    if check and agent.containers():
                        problems.append(f"{agent.name} still has containers: {agent.containers()}")
            for reference in self._image_references:
                engine.remove_image(reference)
        shutil.rmtree(self.directory, ignore_errors=True)
        if check and self.directory.exists():
            problems.append(f"{self.directory} could not be removed")
        assert not problems, problems

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.logs())
        self.close(check=kind is None)


def _wait_with_log(process, condition, timeout, what):
    try:
        return wait_until(condition, timeout, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{process.log_tail()}") from None
