#!/usr/bin/env python3
"""Writes the protobuf form of messages as the official Python package encodes them.

Usage: make.py FILE...      needs PyPI's centrifuge-python

Each file has messages in JSON, written by hand, each followed by the same message in protobuf, in
hexadecimal: its length and its bytes, as they stand in a frame. The JSON lines are kept, the others
made anew, with the message class that the file is named after.
"""

import base64
import json
import pathlib
import sys

from centrifuge.protocol import client_pb2
from google.protobuf.internal.encoder import _VarintBytes
from google.protobuf.json_format import ParseDict

CLASSES = {"commands": "Command", "replies": "Reply", "pushes": "Reply"}

# Fields of type bytes: raw in the protocol's JSON, base64 in protobuf's.
BYTES = {"data", "conn_info", "chan_info"}


def standard(value, name=None):
    """The protocol's JSON as protobuf's."""
    if name in BYTES:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return base64.b64encode(text.encode()).decode()
    if isinstance(value, dict):
        return {key: standard(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [standard(inner) for inner in value]
    return value


for path in map(pathlib.Path, sys.argv[1:]):
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("{"):
            message = getattr(client_pb2, CLASSES[path.stem])()
            ParseDict(standard(json.loads(line)), message)
            encoded = message.SerializeToString(deterministic=True)
            lines += [line, (_VarintBytes(len(encoded)) + encoded).hex()]
    path.write_text("\n".join(lines) + "\n")
