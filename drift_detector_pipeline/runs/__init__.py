"""A run's papers: what it ran on, how far it is, what it has come to.

facts         time, command, versions, commit
portable      one instruction set for all processors
machine       device, precision, threads, processes
receipts      run.json of a finished run
signature     who vouches for a run: make sign, make check_signature
known_bits    what the quick start came to on which processors
listing       make runs: receipts side by side
checkpoints   the state of an unfinished run
folders       which folder a command uses or continues
tracking/     where a run's numbers go
"""
