"""Where a run's numbers go while it happens.

tracker           metrics.jsonl, always, and TensorBoard's event files
writer            the far end of a mirror: what every program that writes to another tracker has in common
mirror            the near end: starts such a program, hands it a run's numbers, bounds its time
wandb_writer      the program that writes to W&B
wandb_tracking    what the settings say of W&B
mlflow_writer     the program that writes to MLflow
mlflow_tracking   what the settings say of MLflow
trackio_writer    the program that writes to trackio
trackio_tracking  what the settings say of trackio

The two ends are two processes: a training never waits for a network, and a writer holds no torch. Another tracker is
one more `Writer` (writer.py) in a module of its own, and a `Destination` (mirror.py) that names it;
modeling/session.py opens the trackers.
"""
