"""A finished run -> one folder that answers without PyTorch, measured before anybody relies on it.

artefact    the folder: what it holds, whole or not
admitted    a test of one against another, and whether it lets a candidate in
chronicle   who answers, and all who did
registry    versions that nobody changes, and which of them answers: models/
champions   make promote, make rollback
shared      make models_push, make models_pull
executable  a file of it, run: images -> everything that is asked of a model
box_executable  the same of a model that finds boxes
verified    make models_check: every version answers, the champion may be one
graph       a network -> ONNX files
quantised   the same in whole numbers
parity      what a file costs and saves, beside the network itself
pruned      a network with fewer channels, for comparison
beside      the table's rows that are never served
trials      every file in every runtime
box_export  the same of a network that finds boxes
clip_export  the same of a network that looks at clips, frame by frame
source      what is exported: a network, its run, its images
export      make export
"""
