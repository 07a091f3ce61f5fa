"""Configurations to begin with, as `diode run --example` prints them."""

SENDER = """\
# diode run sender.toml: files put into these folders cross the line.
# Names of keys are those of the options of `diode send`; diode-run.toml(5) has them all.
[sender]
to = "serial:/dev/ttyUSB0?baud=115200"   # or a list: several lanes
state = "state"                          # who this sender is, and its queue: never share or copy it
passes = 2                               # how often everything is sent
redundancy = "25%"
heartbeat = "10s"                        # while there is nothing to send
carousel = { last = 100 }                # sent again while the line is idle; or { for = "24h" }
# records = ["mqtt://localhost/plant/#"] # readings, before all files: diode-records(7)
# every = ["alarms/#"]                   # topics of which each matters; of others the newest
# records-away = "60s"                   # a source that is away for so long is an alarm
# sign = "plant7.key"                    # diode keygen
# on-alarm = "/usr/local/bin/page-me"    # DIODE_ALARM, DIODE_STATE, DIODE_TEXT, DIODE_HINT
# metrics = { textfile = "/var/lib/node_exporter/diode.prom" }

[[sender.drop]]
folder = "urgent"
priority = 9                             # 9 goes before 0, in the middle of a file too
settle = "0s"

[[sender.drop]]
folder = "out"
after = "move"                           # to out/sent when it is sent no more; or "delete", "keep"
settle = "2s"                            # unchanged for so long, or renamed in: then it is whole
# only = ["*.sig", "*.asc"]              # nothing else crosses
# max-size = "16k"
# at-most = { files = 20, per = "1h" }
"""
RECEIVER = """\
# diode run receiver.toml: what crosses the line is verified and put into the inbox.
# Names of keys are those of the options of `diode recv`; diode-run.toml(5) has them all.
[receiver]
from = "serial:/dev/ttyUSB1?baud=115200"
inbox = "in"
silence = "60s"                          # nothing for so long is an alarm
quota = "2GB"                            # for what is not whole yet
# records-to = ["mqtt://localhost"]      # where readings go: diode-records(7)
# records-away = "60s"                   # a sink that takes nothing for so long is an alarm
# verify = ["plant7.pub"]                # then unsigned objects are refused
# on-delivery = "/usr/local/bin/ingest {path}"   # DIODE_PATH and others tell of the file, too
# on-alarm = "/usr/local/bin/page-me"    # DIODE_ALARM, DIODE_STATE, DIODE_TEXT, DIODE_HINT
# metrics = { textfile = "/var/lib/node_exporter/diode.prom", listen = "127.0.0.1:9780" }
"""
EXAMPLES = {"sender": SENDER, "receiver": RECEIVER}
