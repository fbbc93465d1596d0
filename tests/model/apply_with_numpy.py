"""Applies every linear of a compressed folder with scripts/load_mpo.py, for load_mpo_test.cpp to compare.

    apply_with_numpy.py SCRIPTS FOLDER INPUTS OUTPUT

INPUTS is a folder whose tensors are the X (B, in) of each module. OUTPUT becomes a safetensors file with, for each module,
.y (B, out) from all of X, .rows the same from one row at a time, and .W (out, in).
"""

import json
import struct
import sys

import numpy as np

sys.dont_write_bytecode = True  # nothing is left beside the script
scripts, folder, inputs, output = sys.argv[1:]
sys.path.insert(0, scripts)
import load_mpo  # noqa: E402

header, data = {}, b""
for module in load_mpo.linears(folder):
    cores, x = load_mpo.load(folder, module), load_mpo.tensor(inputs, module)
    W = load_mpo.matrix(cores)
    assert load_mpo.apply(cores, x[:0]).shape == (0, len(W)), "no token is a batch, too"
    rows = np.stack([load_mpo.apply(cores, row) for row in x])
    for name, result in ((".y", load_mpo.apply(cores, x)), (".rows", rows), (".W", W)):
        packed = np.ascontiguousarray(result, "<f8").tobytes()
        header[module + name] = {"dtype": "F64", "shape": result.shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
text = json.dumps(header).encode()
with open(output, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
