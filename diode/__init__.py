"""One-way transmission with forward error correction.

 source -> object -> block -> code -> schedule -> frame -> line -> carrier
                                                                     |
                                                                 one way only
                                                                     |
 sink   <- object <- block <- code <- collector <- frame <- line <- carrier

Layers, one file each, pure (no input, no output, time is an argument):

    errors         what the operator is told        events      what the receiver saw
    gf256          the field both codes use         frame       headers and batches
    stamp          numbers and checks of frames     block       data, check, zeros
    geometry       how an object is cut             plan        every derived number
    objects        manifests and safe names         forecast    what sending takes and survives
    announcements  manifests on air                 envelope    for whom an object is encrypted
    seal           signatures                       cipher      blocks under a cipher
    keytext        keys as lines of text            tag         frames that need a key
    bucket         a share of the time              limits      bounds on what is held
    slots          frames of one size               record      readings and their bytes
    topics         names of readings                record_group parity across their frames
    endpoint       where they come from and go to   mtree       what a folder has in it, as text

    schedule       the order on air                 collector   symbols until a block is whole
    assembly       frames in that order             suspect     a block with a wrong symbol
    passes         what is on air when              parity      what a block may be filled from
    group          frames laid out slice by slice   orphans     data before its manifest
    lanes          shares of several links          incoming    an object in progress
    transmitter    objects in, frames out           admission   who may come in
    constant_rate  idle frames in its pauses        keyring     those whose keys are known
    ahead          work beside the sending          identities  what is encrypted for us
    outflow        records, and when again          inflow      records, in order or as gaps
    distinct       what differs in a batch          reception   what of a sender was lost
    inspection     what a capture holds             receiver    frames in, events out

Families, one folder each, members chosen by a name in a table:

    code         zfec, leopard, raptorq, repeat     line         cobs, rs, datagram
    modem        bell103, bell202, fsk,             carrier      serial, udp, file, pipe,
                 robust, telephone, cable                        wav, pcm, audio, impaired
    source       files, folder, stream              sink         folder, stream, store
    acquire      lines, tail, mqtt, syslog,         publish      lines, mqtt, syslog, sqlite,
                 opcua, modbus                                   opcua, prometheus, nats
    doctor       udp

A receiver is two processes (carrier/separate.py): one reads the carrier and has no files, the
other one does all the rest and has no carrier. With a store there is one more (sink/uploader.py).
Each source and each sink of records is one, too (service/record_process.py). Only these have a
network.

and `service` (loops that join core and families) and `cli` (one module a verb).

Imports point one way, as tests/test_layers.py checks: pure layers know nothing of carriers, sources
and sinks, and what sends imports nothing that receives.
"""
