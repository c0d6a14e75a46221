"""A finished run -> one folder that answers without PyTorch, measured before anybody relies on it.

artefact    the folder: what it holds, whole or not
executable  a file of it, run: images -> everything that is asked of a model
graph       a network -> ONNX files
int8        the same in whole numbers
parity      what a file costs and saves, beside the network itself
pruned      a network with fewer channels, for comparison
beside      the table's rows that are never served
trials      every file in every runtime
export      make export
"""
