"""A finished run -> one folder that answers without PyTorch, measured before anybody relies on it.

artefact     the folder: what it holds, whole or not
executable   a file of it, run: images -> everything that is asked of a model
"""
