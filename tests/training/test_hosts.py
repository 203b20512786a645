"""A training on three hosts, which are network namespaces on a bridge."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import train_arguments
from rank_runs import TUNED, check_same, launch

pytestmark = pytest.mark.slow

HOSTS = 3
# sppdet with a shorter limit, so that the test need not wait for two minutes.
IMPATIENT = """import sys, sppdet.__main__, sppdet.runtime.group as group
group.LIMIT = 15.0
sys.exit(sppdet.__main__.main())
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Namespaces: a switch, and the hosts 10.77.0.1, 10.77.0.2, ..., whose cables end at its ports 0, 1, ..."""
    names = [f"sppdet-{os.getpid()}-{part}" for part in ("switch", *range(HOSTS))]
    switch, *several = names
    if not shutil.which("ip"):
        pytest.skip("iproute2 is not installed")
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                ip("netns", "exec", name, "true")
            ip("-n", switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", switch, "link", "set", "bridge", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces: {error.stderr.decode().strip()}")
        for i, name in enumerate(several):
            ip("-n", switch, "link", "add", f"port{i}", "type", "veth", "peer", "name", "cable", "netns", name)
            ip("-n", switch, "link", "set", f"port{i}", "master", "bridge", "up")
            ip("-n", name, "address", "add", f"10.77.0.{i + 1}/24", "dev", "cable")
            for device in ("cable", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=10, check=False)


def launch_all(hosts: list[str], cache: Path, *arguments: str, **options: Any) -> list[subprocess.Popen[str]]:
    """Start a command on every host, one process each."""
    launched = []
    for i, name in enumerate(hosts):
        meeting = ["--nnodes", str(HOSTS), "--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29500"]
        meeting += ["--local-addr", f"10.77.0.{i + 1}", "--rdzv-conf", f"is_host={i == 0}"]  # as names lead nowhere
        launched.append(launch(cache, 1, *arguments, options=meeting, host=["ip", "netns", "exec", name], **options))
    return launched


def finish(launched: list[subprocess.Popen[str]]) -> tuple[list[int], str]:
    """Return the exit codes of all hosts and what they wrote to stderr; none runs on after four minutes."""
    until = time.monotonic() + 240
    try:
        said = [each.communicate(timeout=max(1, until - time.monotonic()))[1] for each in launched]
    finally:
        for each in launched:
            each.kill()
    return [each.returncode for each in launched], "\n".join(said)


def wait_for(file: Path) -> None:
    until = time.monotonic() + 120
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert file.exists()


def test_a_training_on_three_hosts_survives_ten_seconds_without_a_cable(trained, tuned, hosts, tmp_path):
    run, cache = tmp_path / "run", tmp_path / "cache"
    switch, *several = hosts
    arguments = [*train_arguments(trained, run), *TUNED]
    launched = launch_all(several, cache, *arguments)
    wait_for(run / "finetuned-train.safetensors")
    ip("-n", switch, "link", "set", "port2", "down")
    time.sleep(10)
    assert not (run / "detector.safetensors").exists(), "the cable was pulled too late"
    ip("-n", switch, "link", "set", "port2", "up")
    codes, log = finish(launched)
    if any(codes):
        assert "sppdet: error:" in log
        codes, log = finish(launch_all(several, cache, *arguments))
    assert codes == [0] * HOSTS, log
    check_same(tuned, run, within=0.05)


def test_a_host_lost_for_good_is_named_and_ends_the_others(trained, tuned, hosts, tmp_path):
    run, cache, program = tmp_path / "run", tmp_path / "cache", tmp_path / "impatient.py"
    program.write_text(IMPATIENT)
    switch, *several = hosts
    arguments = [*train_arguments(trained, run), *TUNED]
    launched = launch_all(several, cache, *arguments, program=[str(program)])
    wait_for(run / "finetuned-train.safetensors")
    ip("-n", switch, "link", "set", "port2", "down")
    launched[2].kill()  # torchrun itself waits until the system gives up its connection; the rank that it started ends
    codes, log = finish(launched)
    assert not (run / "detector.safetensors").exists(), "the cable was pulled too late"
    assert all(codes)
    assert "sppdet: error: rank 2 gave no sign of life for 15 s; repeat the command to resume" in log
    assert "sppdet: error: rank 2: no answer from the others for 15 s; repeat the command to resume" in log
    ip("-n", switch, "link", "set", "port2", "up")
    codes, log = finish(launch_all(several, cache, *arguments))
    assert codes == [0] * HOSTS, log
    check_same(tuned, run, within=0.05)
