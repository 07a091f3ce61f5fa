"""Sources: where the objects to send come from.

`files` one file, `folder` a directory tree, `stream` standard input, spooled to disk or in pieces,
`drop` what lies in a drop folder and may leave it, `specification` the list of a tree. Each gives
`transmitter.Source` objects whose digest is made before the first frame is sent, because the
manifest goes first; `check` finds out at the end of each pass whether it still holds.
"""
