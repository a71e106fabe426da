"""What the black-box tests stand on: real servers, agents and engines, driven through the public interfaces only.

waiting       wait_until: the only way to wait
processes     starting, killing and reading the logs of real processes; find_binary, free_port
docker_engine the Docker engine's API, private engines, starting the shared one
api           the HTTP API, with a check of every problem
sessions      exec over the session WebSocket
fake_api      a control plane of canned answers, held against openapi.yaml; for tests of clients
stack         Stack: a server and N agents, wired up; cleans up exactly what it started
requirements  require_docker(), require_root(): skip and say why
"""
