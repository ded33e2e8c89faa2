"""Serving: setups, command lines, and the supervisor with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from iterreason.errors import BadConfig, ServerFailed
from iterreason.serving.launch import launches
from iterreason.serving.setup import find_setup, presets, read_setup
from iterreason.serving.supervisor import Patience, Supervisor

SECRET = "sk-very-secret-0123456789"
QUICK = Patience(check=0.05, misses=3, first=0.01, most=0.04, tries=3, end=0.5)


class Place:
    """A folder with the fake `vllm` on the path, and setups whose servers listen at free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plan(self, *does: str) -> None:
        """What each start does."""
        (self.folder / "plan.json").write_text(json.dumps(does))

    def setup(self, *roles: str, host: str = "127.0.0.1", more: str = "") -> Path:
        """A setup file with a server for each role."""
        tables = [
            f'[{role}]\nmodel = "org/{role}"\nport = {port}\ngpu_memory = 0.4\n{more}\n'
            for role, port in zip(roles, free_ports(len(roles)), strict=True)
        ]
        file = self.folder / "setup.toml"
        file.write_text(f'host = "{host}"\nlogs = "{self.folder}"\n' + "\n".join(tables))
        return file

    def starts(self) -> list[dict]:
        """What each start left."""
        files = sorted(self.folder.glob("start-*.json"), key=lambda file: int(file.stem.partition("-")[2]))
        return [json.loads(file.read_text()) for file in files]

    def left(self) -> list[int]:
        """Processes that still run; one that was killed may take a moment to go."""
        pids = [pid for start in self.starts() for pid in start["pids"]]
        found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        _, alive = psutil.wait_procs(found, timeout=3)
        return [process.pid for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The fake `vllm` first on the path; whatever a failed test leaves running is ended."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    shutil.copy(Path(__file__).with_name("fake_vllm.py"), program)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_VLLM", str(tmp_path))
    monkeypatch.delenv("ITERREASON_API_KEY", raising=False)
    place = Place(tmp_path)
    yield place
    for pid in place.left():
        os.kill(pid, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def command(*arguments: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "iterreason", "serve", *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def refused(*arguments: str, code: int = 2) -> str:
    """What the command says when it ends with this code."""
    process = command(*arguments)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in errors
    return errors


def supervised(setup: Path, *, end_after: int, patience: Patience = QUICK) -> list[str]:
    """The lines that a supervisor tells until so many starts were answered; then it is stopped."""
    told: list[str] = []

    async def once() -> None:
        def tell(line: str) -> None:
            told.append(line)
            if sum("answers after" in line for line in told) == end_after:
                supervisor.stop()

        supervisor = Supervisor(launches(find_setup(str(setup))[0]), tell, patience)
        await asyncio.wait_for(supervisor.run(lambda: None), 60)

    asyncio.run(once())
    return told


# ------------------------------------------------------------------ the command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_servers_run_until_they_are_told_to_end(place: Place, number: signal.Signals) -> None:
    """Once both answer, the URIs are printed as a shell takes them; either signal ends all processes, with code 0."""
    place.plan("serve")
    process = command(str(place.setup("reasoner", "answerer")))
    assert process.stdout
    printed = [process.stdout.readline().strip() for _ in range(2)]
    ports = [a for start in place.starts() for a in start["arguments"] if a.startswith("--port=")]
    assert len(ports) == 2
    for role, line in zip(("reasoner", "answerer"), printed, strict=True):
        name, _, uri = line.partition("=")
        assert name == f"export ITERREASON_{role.upper()}"
        assert uri.startswith(f"'openai:org/{role}@http://127.0.0.1:")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert place.left() == []


def test_one_model_for_both_roles_is_announced_as_such(place: Place) -> None:
    """The answerer of a setup with one server is the reasoner itself, and vllm gets the flags that the engine needs."""
    place.plan("serve")
    process = command(str(place.setup("both", more="max_length = 4096\nimages = 3\nflags = ['--seed=7']")))
    assert process.stdout
    assert process.stdout.readline().startswith("export ITERREASON_REASONER='openai:org/both@http://")
    assert process.stdout.readline() == "export ITERREASON_ANSWERER=same\n"
    process.terminate()
    process.communicate(timeout=60)
    start = place.starts()[0]
    assert start["arguments"][:2] == ["serve", "org/both"]
    assert start["gpus"] == "0"
    assert start["arguments"][-1] == "--seed=7", "a setup's own flags stand last, and win"
    assert {
        "--host=127.0.0.1", "--enable-prefix-caching", "--enable-prompt-tokens-details", "--max-model-len=4096",
        '--limit-mm-per-prompt={"image": 3, "video": 0}', "--gpu-memory-utilization=0.4", "--tensor-parallel-size=1",
    } <= set(start["arguments"])  # fmt: skip


def test_a_server_that_does_not_start_ends_the_others(place: Place) -> None:
    """A start that fails is told with the end of its log, code 1, and nothing is left running."""
    place.plan("serve", "die")
    errors = refused(str(place.setup("reasoner", "answerer", more="gpus = [0]")), code=1)
    assert "answerer: vllm ended with code 1" in errors
    assert "RuntimeError: out of memory" in errors
    assert place.left() == []


def test_a_host_that_others_reach_takes_a_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key nothing is started; with one it goes to vllm through the environment and is shown nowhere."""
    place.plan("die")
    setup = str(place.setup("both", host="0.0.0.0"))
    assert "set a key in ITERREASON_API_KEY" in refused(setup)
    assert place.starts() == []
    monkeypatch.setenv("ITERREASON_API_KEY", SECRET)
    errors = refused(setup, code=1)
    assert "the key is [key]" in errors
    assert SECRET not in errors
    assert place.starts()[0]["key"] == SECRET
    assert SECRET not in str(place.starts()[0]["arguments"])


def test_a_port_that_is_taken_is_named(place: Place) -> None:
    """Nothing is started where something else listens."""
    place.plan("serve")
    setup = place.setup("both")
    port = find_setup(str(setup))[0].servers["both"].port
    with socket.create_server(("127.0.0.1", port)):
        assert f"port {port}: Address already in use" in refused(str(setup))
    assert place.starts() == []


def test_without_vllm_the_way_to_get_it_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without vLLM is told the pip line."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "pip install 'iterreason[vllm]'" in refused(str(place.setup("both")))


def test_a_preset_can_be_looked_at() -> None:
    """`--show` prints the text to start one's own from, and starts nothing."""
    process = command("two-on-one", "--show")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert read_setup(out, "shown").reasoner
    assert "one-80gb" in out


# ------------------------------------------------------------------ watching


def test_a_server_that_dies_is_started_anew(place: Place) -> None:
    """Each death is told with the pause before the next start, which doubles up to a bound."""
    place.plan("die-soon", "die", "die-soon", "serve")
    told = supervised(place.setup("both"), end_after=3)
    pauses = [line for line in told if "anew" in line]
    assert [line.rpartition(" in ")[2] for line in pauses] == ["0.01 s", "0.02 s", "0.04 s"]
    assert "vllm ended with code 7" in pauses[0]
    assert len(place.starts()) == 4
    assert place.left() == []


def test_a_server_that_keeps_dying_is_given_up(place: Place) -> None:
    """After so many restarts the whole fails with what the log says, and ends the other server."""
    place.plan("serve", "die-soon")
    with pytest.raises(ServerFailed, match=r"answerer: .* once more, after 3 restarts; its log .*vllm-\d+.log ends"):
        supervised(place.setup("reasoner", "answerer"), end_after=99)
    assert len(place.starts()) == 1 + 4
    assert place.left() == []


def test_a_server_that_hangs_is_started_anew(place: Place) -> None:
    """One that runs but does not answer any more is no better than a dead one."""
    place.plan("hang", "serve")
    told = supervised(place.setup("both"), end_after=2)
    assert any("hangs: 3 checks without an answer" in line for line in told)
    assert place.left() == []


def test_a_server_that_will_not_end_is_killed_with_its_children(place: Place) -> None:
    """An engine's own processes do not outlive the supervisor, nor does a server that ignores the request to end."""
    place.plan("stubborn")
    supervised(place.setup("both"), end_after=1)
    assert len(place.starts()[0]["pids"]) == 2
    assert place.left() == []


@pytest.mark.parametrize(("gpus", "together"), [("[0]", False), ("[]", True)])
def test_servers_that_share_a_gpu_start_one_after_another(place: Place, gpus: str, together: bool) -> None:
    """Each measures the free memory while it starts; those that share nothing start at once."""
    place.plan("serve")
    told = supervised(place.setup("reasoner", "answerer", more=f"gpus = {gpus}"), end_after=2)
    second = [n for n, line in enumerate(told) if "starting" in line][1]
    answered = next(n for n, line in enumerate(told) if "answers" in line)
    assert (second < answered) == together


# ------------------------------------------------------------------ setups


@pytest.mark.parametrize("name", presets())
def test_presets_are_in_order(place: Place, name: str) -> None:
    """Every shipped preset can be read, says what it is for, is for this machine alone, and makes a command line."""
    setup, _ = find_setup(name)
    assert setup.description.endswith(".")
    assert setup.local
    for launch in launches(setup):
        assert launch.url.startswith("http://127.0.0.1:")
        assert not launch.gpus or set(launch.environment["CUDA_VISIBLE_DEVICES"].split(",")) == set(
            map(str, launch.gpus)
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing to serve"),
        ("[both]\nmodel = 'm'\nport = 1\n[reasoner]\nmodel = 'm'\nport = 2", "leave out"),
        ("[both]\nmodl = 'm'\nport = 1", "unknown key 'modl'; did you mean 'model'?"),
        ("hots = 'x'", "unknown key 'hots'; did you mean 'host'?"),
        ("[both]\nmodel = 'm'", "both.port"),
        ("[both]\nmodel = 'm'\nport = 99999", "both.port: Input should be less than"),
        ("[both]\nmodel = 'm'\nport = '1'", "both.port: Input should be a valid integer"),
        ("[both]\nmodel = 'm'\nport = 1\ngpu_memory = 1.5", "both.gpu_memory"),
        ("[both]\nmodel = 'm'\nport = 1\ntensor_parallel = 2", "more than its 1 gpus"),
        ("[both]\nmodel = 'm'\nport = 1\nflags = ['--api-key=x']", "never from a flag"),
        ("[both]\nmodel = 'm'\nport = 1\nenvironment = {HF_TOKEN = 'x'}", "HF_TOKEN: secrets do not belong"),
        ("[reasoner]\nmodel = 'm'\nport = 1\n[answerer]\nmodel = 'm'\nport = 1\ngpus = [1]", "port 1 is given to"),
        ("[reasoner]\nmodel = 'm'\nport = 1\n[answerer]\nmodel = 'm'\nport = 2", "gpu 0 is given out to 180%"),
        ("[both", "is not TOML"),
    ],
)  # fmt: skip
def test_a_setup_that_cannot_be_is_refused_by_its_key(text: str, words: str) -> None:
    """Every fault of a setup is told with its key before anything is started."""
    with pytest.raises(BadConfig) as caught:
        read_setup(text, "mine.toml")
    assert words in str(caught.value)


def test_an_unknown_preset_is_a_misuse() -> None:
    """A misspelt preset ends with code 2 and the near one's name."""
    assert "did you mean 'one-24gb'?" in refused("one-24")


def test_adapters_are_served_under_their_names(place: Place, tmp_path: Path) -> None:
    """Each adapter is a name beside the model's, with room for the largest rank; what is no adapter is refused."""
    for name, rank in (("small", 4), ("large", 12)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"r": rank}))
    adapters = f"adapters = {{small = '{tmp_path}/small', large = '{tmp_path}/large'}}"
    [launch] = launches(find_setup(str(place.setup("both", more=adapters)))[0])
    assert [uri.partition("@")[0] for uri in launch.uris] == ["openai:org/both", "openai:small", "openai:large"]
    assert {"--enable-lora", "--max-lora-rank=16", f"small={tmp_path}/small"} <= set(launch.command)
    assert "is no adapter" in refused(str(place.setup("both", more="adapters = {none = 'nowhere'}")), code=1)
