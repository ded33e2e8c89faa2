"""Runs on a Ray cluster: the same results as here, through the loss of a node, a kill, models that do not open."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import ray
from bench_case import rows_of, write_models, write_pool, write_task
from PIL import Image
from ray.cluster_utils import Cluster
from test_runner import Told, run, wanted

from iterreason.bench.cluster.driver import on_cluster, parcels
from iterreason.bench.row import RESULTS, TRACES, Run
from iterreason.bench.solving import Done, Job, Setting
from iterreason.bench.speed import scale
from iterreason.bench.tasks.item import Item
from iterreason.bench.tasks.loading import load_items
from iterreason.bench.tasks.task import find_task
from iterreason.errors import Failure, Misuse, ModelFailed
from iterreason.exemplars import read_exemplars
from iterreason.opening import open_models
from iterreason.policy import find_policy
from iterreason.trace import read_traces

# A dead node is noticed after a few seconds; on a busy machine fewer would take a slow node for a dead one.
_QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 8}
_SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster():
    """Three nodes on this machine: a head, and two that work."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": _QUICK, **_SMALL})
    for _ in range(2):
        made.add_node(num_cpus=1, **_SMALL)
    yield made
    made.shutdown()


def on_ray(evaluation, models, address: str, told: Told | None = None, concurrency: int = 8) -> list[Run]:
    """Evaluate on a cluster."""
    with on_cluster(address, *models, None, concurrency) as solving:
        return run(evaluation, models, told, solving=solving)


def enlarge(task: Path) -> None:
    """Make the images so large that reading one takes a while."""
    for number, path in enumerate(sorted((task.parent / "images").iterdir())):
        Image.new("RGB", (3000, 3000 + number), (number, 0, 0)).save(path)


def keys(path: Path) -> list[tuple[str, int]]:
    return [(row["id"], row["seed"]) for row in map(json.loads, path.read_text().splitlines())]


# ------------------------------------------------------------------ parcels


def job(number: int, group: str) -> Job:
    return Job(Item(str(number), "?", ("yes",), (b"",), group), 0)


def test_problems_about_one_image_travel_together():
    """A parcel ends only where an image's problems end; none is lost, the order is kept."""
    jobs = [job(n, f"image {n // 3}") for n in range(20)]
    made = list(parcels(jobs, 4))
    assert [one for parcel in made for one in parcel] == jobs
    groups = [{one.item.group for one in parcel} for parcel in made]
    assert all(not here & there for here, there in pairwise(groups))
    assert [len(parcel) for parcel in made] == [6, 6, 6, 2]


def test_an_image_with_very_many_problems_is_shared_out():
    """One image for a whole benchmark must not make one worker do it all."""
    made = list(parcels([job(n, "the only image") for n in range(95)], 4))
    assert [len(parcel) for parcel in made] == [40, 40, 15]


# ------------------------------------------------------------------ on the cluster


def test_a_cluster_gives_what_this_machine_gives(cluster, tmp_path):
    """The same rows, equal but for the clock, with missing images, several seeds, worked exemplars; traces replay."""
    task, models = write_task(tmp_path / "task", 12, missing=1), write_models(tmp_path)
    pool = tuple(read_exemplars(write_pool(write_task(tmp_path / "pool"))))
    names = ("evidence", "direct", "exemplars")
    here = run(wanted(task, tmp_path / "here", *names, seeds=2, exemplars=pool), models)
    there = on_ray(wanted(task, tmp_path / "there", *names, seeds=2, exemplars=pool), models, cluster.address)
    for one, other in zip(here, there, strict=True):
        assert rows_of(one.folder / RESULTS) == rows_of(other.folder / RESULTS)
        assert len(other.rows) == 24
        rows = {row.key: row for row in other.rows}
        for trace in read_traces(other.folder / TRACES):
            assert trace.replay().answer == rows[trace.problem.id, trace.seed].answer
    assert not ray.is_initialized()


def test_a_lost_node_loses_nothing_and_doubles_nothing(cluster, tmp_path):
    """A node killed while its worker solves: every problem has one row and one trace, the same as without the loss."""
    task, models = write_task(tmp_path / "task", 48), write_models(tmp_path)
    enlarge(task)
    (here,) = run(wanted(task, tmp_path / "here"), models)
    killed = []

    class Killer(Told):
        def solved(self, row) -> None:
            super().solved(row)
            if len(self.solved_ids) >= 6 and not killed:
                busy = {actor["Address"]["NodeID"] for actor in workers()}
                node = next(node for node in cluster.worker_nodes if node.node_id in busy)
                cluster.remove_node(node, allow_graceful=False)
                killed.append(len(self.solved_ids))

    (there,) = on_ray(wanted(task, tmp_path / "there"), models, cluster.address, Killer(), concurrency=4)
    assert killed
    assert killed[0] < 48
    assert len(keys(there.folder / RESULTS)) == len(set(keys(there.folder / RESULTS))) == 48
    assert rows_of(here.folder / RESULTS) == rows_of(there.folder / RESULTS)
    assert sorted(trace.problem.id for trace in read_traces(there.folder / TRACES)) == sorted(r.id for r in here.rows)
    cluster.add_node(num_cpus=1, **_SMALL)


def workers() -> list[dict]:
    """The living workers, as the cluster's own table has them."""
    from ray._private.state import actors

    return [a for a in actors().values() if a["State"] == "ALIVE" and "Worker" in a["ActorClassName"]]


def test_a_run_begun_here_goes_on_there(cluster, tmp_path):
    """A directory with some rows is gone on with on a cluster; what is there is not solved again."""
    task, models = write_task(tmp_path / "task", 12), write_models(tmp_path)
    run(wanted(task, tmp_path / "out", limit=5), models)
    told = Told()
    (there,) = on_ray(wanted(task, tmp_path / "out"), models, cluster.address, told)
    assert told.there == [5]
    assert len(told.solved_ids) == 7
    assert sorted(row.id for row in there.rows) == sorted(f"p{n}" for n in range(12))
    (again,) = on_ray(wanted(task, tmp_path / "out"), models, cluster.address)
    assert again.rows == there.rows


def test_a_problem_that_kills_its_worker_is_its_own_error(cluster, tmp_path, capfd):
    """What crashes the process each time, a decoder over a damaged image say, costs that problem alone."""
    task, models = find_task(str(write_task(tmp_path / "task", 8))), write_models(tmp_path)
    jobs = [Job(item, 0) for item in load_items(task).items]
    jobs[3] = replace(jobs[3], item=replace(jobs[3].item, images=(lambda: os._exit(1),)))

    async def solved() -> list[Done]:
        opened = await open_models(*models, [find_policy("evidence")])
        setting = Setting(task, "test", opened.fit(find_policy("evidence")))
        with on_cluster(cluster.address, *models) as solving:
            return [done async for done in solving(jobs, setting)]

    done = asyncio.run(solved())
    assert sorted(one.row.id for one in done) == sorted(job.item.id for job in jobs)
    (failed,) = (one.row for one in done if one.row.outcome == "error")
    assert (failed.id, failed.error) == (jobs[3].item.id, "the worker's process died 3 times over this problem")
    assert capfd.readouterr().out == ""


def test_models_that_do_not_open_there_end_the_run(cluster, tmp_path):
    """A worker that cannot open the run's models says so, with its node; nothing is tried for ever."""
    task, models = write_task(tmp_path / "task", 6), write_models(tmp_path)
    (tmp_path / "other").mkdir()
    others = write_models(tmp_path / "other", fails="other")
    began = time.monotonic()
    with on_cluster(cluster.address, *others) as solving, pytest.raises(ModelFailed, match="not those of the run"):
        run(wanted(task, tmp_path / "out"), models, solving=solving)
    gone = (f"scripted:{tmp_path}/gone.jsonl", models[1])
    with (
        on_cluster(cluster.address, *gone) as solving,
        pytest.raises(ModelFailed, match=r"node .* cannot work: .*gone.jsonl"),
    ):
        run(wanted(task, tmp_path / "out"), models, solving=solving)
    assert time.monotonic() - began < 60


def test_a_cluster_that_is_not_there_is_named():
    """The error says which address was tried; a Ray client's address is refused with what to do instead."""
    with (
        pytest.raises(Failure, match=r"cannot reach the Ray cluster at 127\.0\.0\.1:1: .*refused"),
        on_cluster("127.0.0.1:1", "a", "b"),
    ):
        pass
    with pytest.raises(Misuse, match="--ray auto"), on_cluster("ray://127.0.0.1:1", "a", "b"):
        pass


# ------------------------------------------------------------------ what a run costs beside its models


def test_the_page_on_scale_is_written_by_its_command(tmp_path, capsys):
    """The table of docs/scale.md is measured, and only its part of the page is replaced."""
    page = tmp_path / "scale.md"
    page.write_text(f"before\n\n<!-- {scale.COMMAND} -->\nold\n<!-- end of {scale.COMMAND} -->\nafter\n")
    assert scale.main(["--problems", "5", "--out", str(page)]) == 0
    text = page.read_text()
    assert (text.startswith("before"), text.endswith("after\n"), "old" in text) == (True, True, False)
    assert "| model calls | 19 |" in text
    calls, sent, new = scale.prompts([scale.solved(n) for n in range(2)])
    assert calls == 19
    assert 0 < new < sent
    held = scale.memory(2_000)
    assert 100 < held["job"] < held["row"] < 20_000


# ------------------------------------------------------------------ as a program


def program(code: str, *arguments: object) -> subprocess.Popen:
    """A run in a process of its own, as the command line makes one."""
    tests = Path(__file__).parent
    head = f"import sys; sys.path.insert(0, {str(tests)!r})\nfrom pathlib import Path\nfrom test_ray import *\n"
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_cluster_of_this_machine_ends_with_the_run(tmp_path):
    """With `local` Ray is started for the run: the run is whole, says nothing on standard output, leaves no process."""
    task, models = write_task(tmp_path / "task", 4), write_models(tmp_path)
    code = "on_ray(wanted(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3:], 'local')"
    running = program(code, task, tmp_path / "out", *models)
    family: set[psutil.Process] = set()
    while running.poll() is None:
        family.update(psutil.Process(running.pid).children(recursive=True))
        time.sleep(0.1)
    said, errors = running.communicate()
    assert (running.returncode, said) == (0, ""), errors
    assert len(keys(tmp_path / "out" / "squares" / "evidence" / RESULTS)) == 4
    assert len(family) > 3  # Ray's own, and the worker
    assert not psutil.wait_procs(family, timeout=20)[1]


def test_a_killed_run_goes_on_on_the_cluster(cluster, tmp_path):
    """kill -9 of the process that writes: the same command on the same cluster ends with every problem once."""
    task, models = write_task(tmp_path / "task", 24), write_models(tmp_path)
    enlarge(task)
    code = "on_ray(wanted(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[4:], sys.argv[3], concurrency=4)"
    rows = tmp_path / "out" / "squares" / "evidence" / RESULTS
    running = program(code, task, tmp_path / "out", cluster.address, *models)
    deadline = time.monotonic() + 60
    while (not rows.exists() or rows.read_bytes().count(b"\n") < 4) and time.monotonic() < deadline:
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.kill()
    running.communicate()
    before = keys(rows)
    told = Told()
    (there,) = on_ray(wanted(task, tmp_path / "out"), models, cluster.address, told)
    assert 4 <= len(before) < 24
    assert len(keys(rows)) == len(set(keys(rows))) == len(there.rows) == 24
    assert len(told.solved_ids) <= 24 - len(before)
