"""Loops that join the pure core to carriers, sources and sinks."""
