#!/usr/bin/env python3
"""Prefill and decoding of a LLaMA-shaped GGUF model in PyTorch and llama.cpp beside ours: the same weights in float32,
the same threads, logits of every position.

    decoder.py MODEL.gguf [--ours build/bench/bench/mpo_decoder_times] [--threads N] [--rounds N] [--tokens N]
               [--json FILE]

PyTorch runs the plain modules of torch_training.py, eager, without gradients, scaled_dot_product_attention, its weights
read with the package gguf; decoding has a cache of keys and values. llama.cpp (llama-cpp-python) gets a float32 GGUF
that is written beside the results and removed, and the file itself (its own kernels for its own quantisation: another
row, not the same weights in memory). Every round takes all of them in turn; the table has medians, and medians of the
ratios in the same round.

Peers are never needed to build: pip install torch gguf llama-cpp-python, outside the repository.
"""
import argparse
import json
import os
import statistics
import tempfile
import time

import torch
from torch.nn import functional as F

from ours import Ours
from torch_training import HEAD_DIM, HEADS, HIDDEN, KV_HEADS, Model, rotary, rotated


def read_gguf(path):
    """(reader, name -> float32 array, out x in)"""
    import gguf
    reader = gguf.GGUFReader(path)
    arrays = {t.name: torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).copy()).float() for t in reader.tensors}
    return reader, arrays


def unpermuted(weight, heads):
    """Rows of q and k as Hugging Face orders them: GGUF interleaves the halves of a head."""
    rows = weight.shape[0]
    return weight.reshape(heads, rows // heads // 2, 2, -1).transpose(1, 2).reshape(rows, -1)


def torch_model(arrays):
    layers = 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("blk."))
    model = Model(layers, arrays["token_embd.weight"].shape[0])
    with torch.no_grad():
        model.embedding.copy_(arrays["token_embd.weight"])
        model.norm.weight.copy_(arrays["output_norm.weight"])
        for k, layer in enumerate(model.layers):
            of = lambda name: arrays[f"blk.{k}.{name}.weight"]
            layer.input_norm.weight.copy_(of("attn_norm"))
            layer.post_norm.weight.copy_(of("ffn_norm"))
            layer.q.weight.copy_(unpermuted(of("attn_q"), HEADS))
            layer.k.weight.copy_(unpermuted(of("attn_k"), KV_HEADS))
            layer.v.weight.copy_(of("attn_v"))
            layer.o.weight.copy_(of("attn_output"))
            layer.gate.weight.copy_(of("ffn_gate"))
            layer.up.weight.copy_(of("ffn_up"))
            layer.down.weight.copy_(of("ffn_down"))
    return model


class TorchDecoder:
    """Keys and values of all layers in tensors that are allocated once."""

    def __init__(self, model, length):
        self.model, self.length = model, length
        self.keys = torch.zeros(len(model.layers), KV_HEADS, length, HEAD_DIM)
        self.values = torch.zeros_like(self.keys)
        self.cosines, self.sines = rotary(length)

    def step(self, tokens, begin):
        """Logits of tokens at begin .. begin + len - 1."""
        end = begin + tokens.shape[0]
        x = F.embedding(tokens, self.model.embedding)
        cosines, sines = self.cosines[begin:end], self.sines[begin:end]
        heads = lambda y, count: y.view(-1, count, HEAD_DIM).transpose(0, 1)
        for k, layer in enumerate(self.model.layers):
            n = layer.input_norm(x)
            q = rotated(heads(layer.q(n), HEADS), cosines, sines)
            self.keys[k, :, begin:end] = rotated(heads(layer.k(n), KV_HEADS), cosines, sines)
            self.values[k, :, begin:end] = heads(layer.v(n), KV_HEADS)
            keys = self.keys[k, :, :end].repeat_interleave(HEADS // KV_HEADS, dim=0)
            values = self.values[k, :, :end].repeat_interleave(HEADS // KV_HEADS, dim=0)
            a = F.scaled_dot_product_attention(q, keys, values, is_causal=begin == 0)
            x = x + layer.o(a.transpose(0, 1).reshape(-1, HIDDEN))
            n = layer.post_norm(x)
            x = x + layer.down(F.silu(layer.gate(n)) * layer.up(n))
        return self.model.norm(x) @ self.model.embedding.T


def write_float_gguf(reader, arrays, path):
    """The same model with every tensor in float32."""
    import gguf
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(path, arch)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, arrays[tensor.name].numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class LlamaCpp:
    """llama_decode itself: Llama.eval turns every logit into a Python object, which takes longer than the model."""

    def __init__(self, path, threads, length):
        from llama_cpp import Llama
        self.batch = 512
        self.llama = Llama(path, n_ctx=length + 8, n_batch=self.batch, n_threads=threads, n_threads_batch=threads,
                           logits_all=True, verbose=False)

    def evaluate(self, tokens, begin):
        """Tokens at begin .. begin + len - 1; what lay behind is forgotten."""
        llama = self.llama
        llama._ctx.kv_cache_seq_rm(-1, begin, -1)
        for k in range(0, len(tokens), self.batch):
            llama._batch.set_batch(batch=tokens[k:k + self.batch], n_past=begin + k, logits_all=True)
            llama._ctx.decode(llama._batch)

    def logits(self, tokens):
        """(tokens, vocabulary), of one batch at most."""
        import numpy
        self.evaluate(tokens, 0)
        shape = (len(tokens), self.llama.n_vocab())
        return torch.from_numpy(numpy.ctypeslib.as_array(self.llama._ctx.get_logits(), shape).copy())

    def prefill(self, tokens):
        begin = time.perf_counter()
        self.evaluate(tokens, 0)
        return 1e3 * (time.perf_counter() - begin)

    def decode(self, tokens):
        """Mean of eight tokens behind `tokens`."""
        self.evaluate(tokens, 0)
        begin = time.perf_counter()
        for k in range(8):
            self.evaluate([k + 11], len(tokens))
        return 1e3 / 8 * (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--ours", default="build/bench/bench/mpo_decoder_times")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--context", type=int, default=128, help="tokens before the one that is decoded")
    parser.add_argument("--json", help="write all medians to a file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reader, arrays = read_gguf(options.model)
    length = max(options.tokens, options.context + 8)
    decoder = TorchDecoder(torch_model(arrays), length)
    vocab = arrays["token_embd.weight"].shape[0]
    tokens = torch.arange(options.tokens) * 7919 % vocab

    def torch_prefill():
        begin = time.perf_counter()
        decoder.step(tokens, 0)
        return 1e3 * (time.perf_counter() - begin)

    def torch_decode():
        decoder.step(tokens[:options.context], 0)
        begin = time.perf_counter()
        for k in range(8):
            decoder.step(tokens[k:k + 1], options.context)
        return 1e3 / 8 * (time.perf_counter() - begin)

    ours = Ours(options.ours, options.model, str(options.threads))
    prefill = {"ours": lambda: ours.ask(f"prefill {options.tokens}")[0], "torch": torch_prefill}
    decode = {"ours": lambda: ours.ask(f"decode {options.context}")[0], "torch": torch_decode}
    try:
        handle, path = tempfile.mkstemp(suffix=".gguf")
        os.close(handle)
        write_float_gguf(reader, arrays, path)
        ids = tokens.tolist()
        for name, file in (("llama.cpp float", path), ("llama.cpp as stored", options.model)):
            peer = LlamaCpp(file, options.threads, length)
            with torch.no_grad():
                expected = decoder.step(tokens[:64], 0)
            error = (peer.logits(ids[:64]) - expected).abs().max() / expected.abs().max()
            print(f"{name}: logits of 64 tokens differ from torch's by {error:.2g} of the largest at most")
            prefill[name] = lambda peer=peer: peer.prefill(ids)
            decode[name] = lambda peer=peer: peer.decode(ids[:options.context])
    except ImportError:
        print("decoder.py: no llama.cpp: not installed")
    finally:
        os.unlink(path)
    rows = []
    with torch.no_grad():
        for what, sides, count in (("prefill", prefill, options.tokens), ("decode", decode, 1)):
            times = {name: [] for name in sides}
            for k in range(options.rounds + 1):
                for name, run in sides.items():
                    spent = run()
                    if k > 0:
                        times[name].append(spent)
            print(f"{what}, {options.tokens if what == 'prefill' else f'behind {options.context}'} tokens, "
                  f"{options.threads} threads", flush=True)
            for name, each in times.items():
                ratio = statistics.median(a / b for a, b in zip(each, times["ours"]))
                speed = 1e3 * count / statistics.median(each)
                print(f"  {name:20} {speed:9.1f} tokens/s   ours is {ratio:5.2f} x", flush=True)
                rows.append({"what": what, "side": name, "tokens_per_second": speed, "ours_is": ratio})
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"torch": torch.__version__, "threads": options.threads, "rounds": options.rounds, "rows": rows},
                      file, indent=1)


if __name__ == "__main__":
    main()
