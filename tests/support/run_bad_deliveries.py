"""Run the DAG once for each folder below INPUT_PATH, all in this process, as `airflow dags test` does for one.

Writes a line of JSON for each to the file that is its argument: the run's id and state, and the states of its tasks.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

from airflow.utils.cli import get_bagged_dag

from tests.support.deliveries import day


def main(results: Path) -> None:
    dag = get_bagged_dag(bundle_names=None, dag_id="lc_pipeline")
    time.sleep = lambda _seconds: None  # dag.test() sleeps for a second at each layer that can't run
    with results.open("w") as file:
        for number, folder in enumerate(sorted(Path(os.environ["INPUT_PATH"]).iterdir())):
            os.environ["INPUT_PATH"] = str(folder)
            run = dag.test(logical_date=day(6) + timedelta(minutes=number))
            states = {instance.task_id: instance.state for instance in run.get_task_instances()}
            result = {"case": folder.name, "run_id": run.run_id, "state": run.state, "tasks": states}
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
