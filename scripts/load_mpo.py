#!/usr/bin/env python3
"""Reads the linears of a folder that `mpo compress` wrote (docs/formats.md) as cores: numpy arrays (D, out, in, D').
    load_mpo.py FOLDER [MODULE]    shape, bonds and relative error of all linears, or of one with its cores
    import load_mpo                cores = load_mpo.load(folder, module); y = load_mpo.apply(cores, x)"""
import json, math, pathlib, sys
import numpy as np
NUMBERS = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "F64": "<f8", "U16": "<u2", "I32": "<i4", "I64": "<i8"}

def linears(folder):
    """What mpo_config.json says of every linear, by the name of its module."""
    config = json.loads(pathlib.Path(folder, "mpo_config.json").read_bytes())
    if config["format_version"] != 1:
        raise ValueError(f"format_version {config['format_version']} is unknown, this program reads 1")
    return config["linears"]

def tensor(folder, name):
    """One tensor of model.safetensors, or of the shard that the index names, as float32 or float64."""
    path = pathlib.Path(folder, "model.safetensors")
    if not path.exists():
        path = path.with_name(json.loads(pathlib.Path(f"{path}.index.json").read_bytes())["weight_map"][name])
    data = 8 + int(np.fromfile(path, "<u8", 1)[0])
    entry = json.loads(np.fromfile(path, "u1", data - 8, offset=8).tobytes())[name]
    numbers = np.fromfile(path, NUMBERS[entry["dtype"]], math.prod(entry["shape"]), offset=data + entry["data_offsets"][0])
    numbers = (numbers.astype("<u4") << 16).view("<f4") if entry["dtype"] == "BF16" else numbers  # the upper half of a float32
    return numbers.astype(np.result_type(numbers, np.float32)).reshape(entry["shape"])

def load(folder, module):
    """The cores of a linear, in the order of the chain; what is stored gauge-fixed gets its identities back."""
    entry, cores = linears(folder)[module], []
    if entry["stored_as"] not in ("cores", "gauge_fixed"):
        raise ValueError(f"stored_as '{entry['stored_as']}' of {module} is unknown, this program reads 'cores' and 'gauge_fixed'")
    for k, legs in enumerate(zip(entry["bonds"], entry["layout"]["out"], entry["layout"]["in"], entry["bonds"][1:])):
        core = tensor(folder, f"{module}.cores.{k}")
        if core.ndim == 2:  # lacks the identity of the next bond, behind the centre of the bond before: rows, or columns
            at = tensor(folder, f"{module}.pivots.{k + (k < entry['center'])}").astype(int)
            core = np.insert(core, at - np.arange(len(at)), np.eye(len(at)), int(k > entry["center"]))
        cores.append(core.reshape(legs))
    return cores

def matrix(cores):
    """W (out, in): W[(o1 .. oN), (i1 .. iN)] = C0[0, o1, i1, :] C1[:, o2, i2, :] .. C[N-1][:, oN, iN, 0]."""
    return apply(cores, np.eye(math.prod(core.shape[2] for core in cores), dtype=cores[0].dtype)).T

def apply(cores, x):
    """y (.., out) = x (.., in) W^T without W, from that end of the chain whose core leaves fewer numbers per token."""
    ins, out, order = [c.shape[2] for c in cores], math.prod(c.shape[1] for c in cores), [*range(len(cores) + 1)]
    if cores[-1][..., 0].size / ins[-1] ** 2 < cores[0][0].size / ins[0] ** 2:  # mirror the chain
        cores, order = [core.transpose(3, 1, 2, 0) for core in cores[::-1]], [0, *order[:0:-1]]
    y = x.reshape(-1, *ins).transpose(order)[..., None]  # (B, legs of in, D)
    for core in cores:
        y = np.tensordot(y, core, ((1, -1), (2, 0)))  # (B, legs of in that are left, legs of out so far, D')
    return y[..., 0].transpose(order).reshape(*x.shape[:-1], out)

if __name__ == "__main__":
    try:
        for name in sys.argv[2:] or linears(sys.argv[1]):
            print("{}: {original_shape}, bonds {bonds}, error {relative_error:.3g}".format(name, **linears(sys.argv[1])[name]))
            print(*(f"core {core.shape}\n" for core in (load(sys.argv[1], name) if sys.argv[2:] else ())), sep="", end="")
    except (IndexError, KeyError, OSError, ValueError) as error:
        sys.exit(f"load_mpo.py: {type(error).__name__}: {error}" if sys.argv[1:] else __doc__)
