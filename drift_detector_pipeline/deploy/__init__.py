"""Elsewhere than here.

entrypoint      what a container does before its command
cloud_secret    secrets of Google Cloud for one command
container_size  what its image weighs
sbom            what the lock pins or an image holds, for whoever asks what is inside
"""
