"""An address or a folder -> files on disk and a `Listing` of them.

listing            what a source holds, whatever its layout; which files of a folder are meant
split_names        folders named as parts of a data set: train, Testing, val_set
drive_credentials  is this a service account's key for Google Drive?
remote             DVC without surprises: pull, push, status
download           one file from a public address, continued where it broke off
recorded           the checksum that a file had when it came
archives           zip and tar -> files
fetch              a missing source, from DVC's cache or remote or its public addresses; checked
formats/            how the truth about images lies in a source: one reader a layout
"""
