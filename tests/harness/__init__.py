"""What the black-box tests stand on: real servers, agents and engines, driven through the public interfaces only.

waiting       wait_until: the only way to wait
processes     starting, killing and reading the logs of real processes; find_binary, free_port
docker_engine the Docker engine's API, private engines, starting the shared one
api           the HTTP API, with a check of every problem
sessions      exec over the session WebSocket
fake_api      a control plane of canned answers, held against openapi.yaml; for tests of clients
agent_protocol enrollment, links and channels from Python, well or badly on purpose; needs no agent program
archives      image archives byte by byte, true and false ones
docker_proxy  a socket before the engine that writes requests down, and can swallow some
fake_time     a wall clock that a test sets, for one process
small_disk    a small file system, full for real
stack         Stack: a server and N agents, wired up; cleans up exactly what it started
requirements  require_docker(), require_root(): skip and say why
"""
