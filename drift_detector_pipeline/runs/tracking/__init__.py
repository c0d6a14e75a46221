"""Where a run's numbers go while it happens.

tracker         metrics.jsonl, always, and TensorBoard's event files
wandb_writer    the process that talks to W&B
wandb_tracking  hands a run's numbers to that process
"""
