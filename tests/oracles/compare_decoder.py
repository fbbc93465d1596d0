"""Compares the decoder with numpy in double precision and with llama.cpp, on a GGUF model and texts.

    python compare_decoder.py PROGRAM MODEL.gguf TEXT...

PROGRAM is mpo_decoder_logits (target of that name). The first 256 tokens of every text are taken. Needs numpy,
gguf, safetensors and xllamacpp (llama.cpp with its server); the results, and the versions they were made with, are in
docs/language_models.md. The test suite compares with tests/fixtures/decoder_logits.safetensors instead, for
which no model need be downloaded.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import gguf
import numpy as np
import xllamacpp
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "fixtures"))
import numpy_decoder  # noqa: E402

NAMES = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}
TOKENS = 256


def read_model(path):
    reader = gguf.GGUFReader(path)

    def field(key):
        return reader.fields["llama." + key].contents()

    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    config = {"num_hidden_layers": field("block_count"), "hidden_size": field("embedding_length"),
              "num_attention_heads": heads, "rope_theta": field("rope.freq_base"),
              "rms_norm_eps": field("attention.layer_norm_rms_epsilon")}
    weights = {}
    for tensor in reader.tensors:
        value = gguf.dequantize(tensor.data, tensor.tensor_type)
        parts = tensor.name.split(".")
        if parts[0] == "blk":
            if parts[2] in ("attn_q", "attn_k"):  # neighbours turn together there, halves here
                h = heads if parts[2] == "attn_q" else kv_heads
                value = value.reshape(h, -1, 2, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
            name = f"model.layers.{parts[1]}.{NAMES[parts[2]]}.weight"
        else:
            name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm",
                    "output": "lm_head"}[parts[0]] + ".weight"
        weights[name] = value
    config["tie_word_embeddings"] = "lm_head.weight" not in weights
    return config, weights


def our_logits(program, model, tokens):
    with tempfile.TemporaryDirectory() as folder:
        ids, out = folder + "/ids", folder + "/logits.safetensors"
        pathlib.Path(ids).write_text(" ".join(map(str, tokens)))
        subprocess.run([program, model, ids, out], check=True)
        return load_file(out)["logits"].astype(np.float64)


class LlamaCpp:
    """llama.cpp behind its own server: token ids of a text, log-probabilities after a prefix."""

    def __init__(self, model):
        params = xllamacpp.CommonParams()
        params.model.path = model
        params.n_ctx = 2 * TOKENS
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
        params.warmup = False
        self.server = xllamacpp.Server(params)

    def post(self, path, request):
        data = json.dumps(request).encode()
        with urllib.request.urlopen(self.server.listening_address + path, data) as answer:
            return json.load(answer)

    def tokens(self, text):
        return self.post("/tokenize", {"content": text, "add_special": False})["tokens"]

    def log_probabilities(self, prefix, count):
        """Of the `count` most probable tokens: ids and values, the best first."""
        answer = self.post("/completion", {"prompt": prefix, "n_predict": 1, "n_probs": count,
                                           "temperature": 0, "cache_prompt": True})
        entries = answer["completion_probabilities"][0]["top_logprobs"]
        return np.array([e["id"] for e in entries]), np.array([e["logprob"] for e in entries])


def log_softmax(x):
    shifted = x - x.max()
    return shifted - np.log(np.exp(shifted).sum())


def compare_with_llama(llama, tokens, ours):
    """Mean absolute difference of all log-probabilities at some positions; same top tokens at all."""
    differences, same = [], []
    for k in range(len(tokens)):
        all_of_them = k % 16 == 15
        ids, theirs = llama.log_probabilities(tokens[:k + 1], ours.shape[1] if all_of_them else 1)
        same.append(ids[0] == ours[k].argmax())
        if all_of_them:
            differences.append(np.abs(theirs - log_softmax(ours[k])[ids]).mean())
    print(f"    llama.cpp: mean |difference| of log-probabilities {np.mean(differences):.3f}, "
          f"same top token {100 * np.mean(same):.1f} % of {len(same)}")


def main():
    program, model, *texts = sys.argv[1:]
    config, weights = read_model(model)
    llama = LlamaCpp(model)
    for text in texts:
        tokens = llama.tokens(pathlib.Path(text).read_text()[:8000])[:TOKENS]
        ours = our_logits(program, model, tokens)
        exact = numpy_decoder.logits(config, weights, np.array(tokens))
        scale = np.abs(exact).max()
        print(f"{pathlib.Path(text).name}: {len(tokens)} tokens; numpy: largest difference "
              f"{np.abs(ours - exact).max() / scale:.1e} of the largest logit {scale:.1f}, "
              f"mean |logit| {np.abs(exact).mean():.2f}")
        compare_with_llama(llama, tokens, ours)


if __name__ == "__main__":
    main()
