"""One-way transmission with forward error correction.

 source -> object -> block -> code -> schedule -> frame -> line -> carrier
                                                                     |
                                                                 one way only
                                                                     |
 sink   <- object <- block <- code <- collector <- frame <- line <- carrier

Layers, one file each, pure (no input, no output, time is an argument):

    errors       what the operator is told          events       what the receiver saw
    gf256        the field both codes compute in    plan         every derived number
    frame        headers, checks, batches           objects      manifests and safe names
    block        data, check, zeros                 schedule     the order on air
    collector    symbols until a block is whole     reception    what of a sender was lost
    transmitter  objects in, frames out             receiver     frames in, events out
    inspection   what a capture holds

Families, one folder each, members chosen by a name in a table:

    code         zfec, repeat                       line         cobs, rs
    carrier      serial, file, pipe, impaired       source       files, folder, stream
    sink         folder, stream

and `service` (loops that join core and families) and `cli` (one module a verb).

Imports point one way, as tests/test_layers.py checks: pure layers know nothing of carriers, sources
and sinks, and what sends imports nothing that receives.
"""
