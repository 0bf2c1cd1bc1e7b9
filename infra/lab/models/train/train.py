"""Trains one very small llama-architecture model on lessons and writes it as GGUF.

Usage: train.py --lessons FILE.jsonl --held-out FILE.jsonl --tokenizer FILE.json --shape d,layers,heads,ffn
                --steps N --name NAME --out FILE.gguf [--begin FILE.gguf] [--first-row 0] [--seed 1]
Progress goes to the error output; the last line of the output is JSON: parameters, share of reply tokens right on wordings that were
held out, seconds. Same lessons, versions and thread count give the same bytes.
"""

import argparse
import json
import os
import re
import sys
import time
from functools import partial

# Sums of floating point numbers depend on how they are cut into parts, and so on the number of threads and on the width of vectors.
os.environ["NPROC"] = "2"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=true"

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
ROPE_BASE = 10000.0
EPS = 1e-5
# Tokens of a reply whose tokens count 1 each.
REPLY_TOKENS = 16
# After how many tokens a judge is to foretell an answer's worth, and what each counts.
WORTH_TOKENS = 3
WORTH_COUNTS = 0.5
# So many layers before the last one the worth is to be known.
EARLY = 1
# What a token of a right answer that a judge reads counts.
ANSWER_COUNTS = 0.3
# What the label that a judge names counts.
LABEL_COUNTS = 8.0


def encode_lesson(tok, lesson, evenness):
    """Token ids, what the model has to say in their places, and what each counts that the model has to say (the reply and its end). With evenness 0 a reply counts by its length, with 1
    each counts the same.
    What was answered before is below 0 and not learned: another model may have said it."""
    ids, aims, said = [], [], []
    for message in lesson["messages"]:
        if message["role"] == "system":
            continue
        mark = USER if message["role"] == "user" else ASSISTANT
        words = tok.encode(message["content"])
        part = [tok.token_to_id(mark)] + words.ids
        if message["role"] == "assistant":
            part.append(tok.token_to_id(END))
        counts = [0.0 if message["role"] == "user" else -1.0] * len(part)
        aim = list(part)
        for place, worth in worths(message["content"], words, lesson.get("worths", {})):
            aim[place], counts[place] = tok.token_to_id(worth), WORTH_COUNTS
        for place in right_answers(message["content"], words, lesson.get("right", [])):
            counts[place] = counts[place] or ANSWER_COUNTS
        ids += part
        aims += aim
        said += counts
    reply = tok.encode(lesson["reply"]).ids + [tok.token_to_id(END)]
    ids += [tok.token_to_id(ASSISTANT)] + reply
    aims += [tok.token_to_id(ASSISTANT)] + reply
    counts = [(REPLY_TOKENS / len(reply)) ** evenness] * len(reply)
    if "worths" in lesson:
        counts[next(i for i, token in enumerate(reply) if tok.id_to_token(token) in lesson["worths"])] = LABEL_COUNTS
    said += [0.0] + counts
    return ids, aims, said


def worths(content, words, known):
    """Where a judge has just read an answer, it is to think of the answer's worth: after each of the last tokens of the mark that closes it."""
    for close in re.finditer(r"</answer ([A-H]) [0-9a-f]{8}>", content):
        inside = [i for i, (start, end) in enumerate(words.offsets) if close.start() < start and end <= close.end()]
        for token in inside[-WORTH_TOKENS:]:
            # One for the role's mark at the beginning, one as a token is foretold at the one before it.
            if close[1] in known and token + 2 <= len(words.ids):
                yield token + 2, str(known[close[1]])


def right_answers(content, words, right):
    """Tokens of the right answers that a judge reads: who is to know what is wrong has to know what there is to say."""
    for answer in re.finditer(r"<answer ([A-H]) ([0-9a-f]{8})>\n(.*?)\n</answer \1 \2>", content, re.S):
        if answer[1] in right:
            # One for the role's mark at the beginning.
            yield from (i + 1 for i, (start, end) in enumerate(words.offsets) if answer.start(3) <= start and end <= answer.end(3))


def pack(tok, path, length, evenness):
    """Rows of whole lessons; attention and positions stay inside of each."""
    rows, row = [], ([], [], [], [], [])
    empty = (tok.token_to_id(PAD), tok.token_to_id(PAD), 0.0, 0, 0)
    def flush():
        nonlocal row
        rows.append([column + [fill] * (length - len(column)) for column, fill in zip(row, empty)])
        row = ([], [], [], [], [])
    skipped = 0
    with open(path) as lines:
        for line in lines:
            ids, aims, said = encode_lesson(tok, json.loads(line), evenness)
            if len(ids) > length:
                skipped += 1
                continue
            if len(row[0]) + len(ids) > length:
                flush()
            number = (row[3][-1] if row[3] else 0) + 1
            for column, more in zip(row, (ids, aims, said, [number] * len(ids), range(len(ids)))):
                column.extend(more)
    flush()
    print(f"{len(rows)} rows of {length} tokens, {skipped} lessons too long", file=sys.stderr)
    return [np.array(column, dtype=np.float32 if i == 2 else np.int32) for i, column in enumerate(zip(*rows))]


def init(key, vocab, d, layers, ffn):
    def normal(key, shape, scale):
        return jax.random.normal(key, shape, jnp.float32) * scale
    keys = iter(jax.random.split(key, 1 + 4 * layers))
    out = 0.02 / np.sqrt(2 * layers)
    params = {"emb": normal(next(keys), (vocab, d), 0.02), "norm": jnp.ones(d), "layers": []}
    for _ in range(layers):
        params["layers"].append({
            "an": jnp.ones(d), "fn": jnp.ones(d),
            "qkv": normal(next(keys), (d, 3 * d), 0.02), "o": normal(next(keys), (d, d), out),
            "gate_up": normal(next(keys), (d, 2 * ffn), 0.02), "down": normal(next(keys), (ffn, d), out),
        })
    return params


def read(path, layers):
    """The numbers of a model's file, to go on from."""
    import gguf
    of = {t.name: jnp.asarray(gguf.quants.dequantize(t.data, t.tensor_type), jnp.float32) for t in gguf.GGUFReader(path).tensors}
    def block(i):
        side = lambda *names: jnp.concatenate([of[f"blk.{i}.{name}.weight"].T for name in names], 1)
        return {
            "an": of[f"blk.{i}.attn_norm.weight"], "fn": of[f"blk.{i}.ffn_norm.weight"],
            "qkv": side("attn_q", "attn_k", "attn_v"), "o": side("attn_output"),
            "gate_up": side("ffn_gate", "ffn_up"), "down": side("ffn_down"),
        }
    return {"emb": of["token_embd.weight"], "norm": of["output_norm.weight"], "layers": [block(i) for i in range(layers)]}


def rms(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS) * weight


def rope(x, pos):
    """Neighbouring pairs turn together, as llama.cpp does for this architecture. x: batch, time, heads, size."""
    half = x.shape[-1] // 2
    freq = ROPE_BASE ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = pos[..., None].astype(jnp.float32) * freq
    cos, sin = jnp.cos(angle)[:, :, None, :], jnp.sin(angle)[:, :, None, :]
    a, b = x[..., 0::2], x[..., 1::2]
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)


def forward(params, ids, seg, pos, heads, early=0):
    """What the last layer says of each token; with `early`, also what the layer says that many layers before the last."""
    b, t = ids.shape
    x = params["emb"][ids]
    d = x.shape[-1]
    size = d // heads
    mask = (seg[:, :, None] == seg[:, None, :]) & jnp.tril(jnp.ones((t, t), bool))
    bias = jnp.where(mask, 0.0, -1e9)[:, None]
    middle = None
    for number, layer in enumerate(params["layers"]):
        if early and number == len(params["layers"]) - early:
            middle = x
        h = rms(x, layer["an"])
        q, k, v = (part.reshape(b, t, heads, size) for part in jnp.split(h @ layer["qkv"], 3, -1))
        q, k = rope(q, pos), rope(k, pos)
        att = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(size) + bias, -1)
        x = x + jnp.einsum("bhqk,bkhd->bqhd", att, v).reshape(b, t, d) @ layer["o"]
        h = rms(x, layer["fn"])
        gate, up = jnp.split(h @ layer["gate_up"], 2, -1)
        x = x + (jax.nn.silu(gate) * up) @ layer["down"]
    x = rms(x, params["norm"])
    return (x, rms(middle, params["norm"])) if early else x


def loss_of(params, ids, aims, said, seg, pos, heads, prompt_weight, early=0):
    if early:
        # The worth of an answer is to be known some layers before the last, so that these are left to find the best one.
        x, middle = forward(params, ids, seg, pos, heads, early)
        x = jnp.where((aims[:, 1:] != ids[:, 1:])[..., None], middle[:, :-1], x[:, :-1])
    else:
        x = forward(params, ids, seg, pos, heads)[:, :-1]
    logits = x @ params["emb"].T
    target = aims[:, 1:]
    same = (seg[:, 1:] == seg[:, :-1]) & (seg[:, 1:] > 0)
    weight = jnp.where(said[:, 1:] == 0, prompt_weight, jnp.maximum(said[:, 1:], 0.0)) * same
    nll = jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
    reply = (said[:, 1:] > 0) & same
    right = (jnp.argmax(logits, -1) == target) & reply
    share = lambda where: (right & where).sum() / jnp.maximum(1, where.sum())
    return (nll * weight).sum() / weight.sum(), (jnp.stack([share(reply), share(said[:, 1:] == LABEL_COUNTS), share(said[:, 1:] == WORTH_COUNTS)]), (nll * reply).sum() / reply.sum())


@partial(jax.jit, static_argnames=("heads", "prompt_weight", "early"), donate_argnums=(0, 1, 2))
def step(params, m, v, ids, aims, said, seg, pos, rate, count, heads, prompt_weight, early):
    (loss, (right, nll)), grad = jax.value_and_grad(loss_of, has_aux=True)(params, ids, aims, said, seg, pos, heads, prompt_weight, early)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grad)))
    scale = jnp.minimum(1.0, 1.0 / (norm + 1e-6))
    b1, b2 = 0.9, 0.98
    def update(p, g, m, v):
        g = g * scale
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        decay = 0.05 if p.ndim > 1 else 0.0
        return p - rate * (m / (1 - b1**count) / (jnp.sqrt(v / (1 - b2**count)) + 1e-8) + decay * p), m, v
    flat, tree = jax.tree.flatten(params)
    done = [update(p, g, mm, vv) for p, g, mm, vv in zip(flat, jax.tree.leaves(grad), jax.tree.leaves(m), jax.tree.leaves(v))]
    params, m, v = (jax.tree.unflatten(tree, [one[i] for one in done]) for i in range(3))
    return params, m, v, right, nll


def train(args):
    tok = Tokenizer.from_file(args.tokenizer)
    d, layers, heads, ffn = (int(n) for n in args.shape.split(","))
    columns = pack(tok, args.lessons, args.length, args.evenness)
    held = [column[:64] for column in pack(tok, args.held_out, args.length, args.evenness)]
    vocab = tok.get_vocab_size()
    params = read(args.begin, layers) if args.begin else init(jax.random.PRNGKey(args.seed), vocab, d, layers, ffn)
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    m, v = zeros(), zeros()
    count = sum(p.size for p in jax.tree.leaves(params))
    print(f"{args.name}: {count/1e6:.2f} M parameters, vocabulary {vocab}", file=sys.stderr)
    early = EARLY if (columns[0] != columns[1]).any() else 0
    check = jax.jit(partial(loss_of, heads=heads, prompt_weight=0.0, early=early))
    began = time.time()
    for i in range(1, args.steps + 1):
        # In the order of the lessons: some are made to come first.
        pick = (args.first_row + np.arange((i - 1) * args.batch, i * args.batch)) % len(columns[0])
        warm = min(1.0, i / 100)
        rate = args.rate * warm * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * i / args.steps)))
        params, m, v, right, nll = step(params, m, v, *(column[pick] for column in columns), rate, float(i), heads, args.prompt_weight, early)
        if i % 100 == 0 or i == args.steps:
            _, (hright, hnll) = check(params, *held)
            spent = time.time() - began
            judge = f", best answers {hright[1]:.3f} worths {hright[2]:.3f}" if early else ""
            print(f"{args.name}: step {i}/{args.steps}, {spent:.0f} s, {i*args.batch*args.length/spent:.0f} tokens/s, reply nll {nll:.3f} right {right[0]:.3f}, held out nll {hnll:.3f} right {hright[0]:.3f}{judge}", file=sys.stderr, flush=True)
    print(json.dumps({"parameters": count, "heldOutRight": round(float(hright[0]), 4), "seconds": round(time.time() - began)}))
    return params, tok, (d, layers, heads, ffn)


def write(params, tok, shape, args):
    import gguf
    d, layers, heads, ffn = shape
    w = gguf.GGUFWriter(args.out, "llama")
    w.add_name(args.name)
    w.add_context_length(2048)
    w.add_embedding_length(d); w.add_block_count(layers); w.add_feed_forward_length(ffn)
    w.add_head_count(heads); w.add_head_count_kv(heads)
    w.add_layer_norm_rms_eps(EPS); w.add_rope_freq_base(ROPE_BASE); w.add_rope_dimension_count(d // heads)
    w.add_vocab_size(tok.get_vocab_size())
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    spec = json.loads(tok.to_str())
    vocab = sorted(spec["model"]["vocab"].items(), key=lambda item: item[1])
    special = {one["content"] for one in spec["added_tokens"]}
    w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre("gpt-2")
    w.add_token_list([token for token, _ in vocab])
    w.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token, _ in vocab])
    w.add_token_merges([" ".join(one) if isinstance(one, list) else one for one in spec["model"]["merges"]])
    w.add_eos_token_id(tok.token_to_id(END)); w.add_bos_token_id(tok.token_to_id(END)); w.add_pad_token_id(tok.token_to_id(PAD))
    w.add_add_bos_token(False)
    w.add_chat_template(
        # Of a conversation only the last turn is shown: lessons have no more.
        "{% set said = messages | rejectattr('role', 'equalto', 'system') | list %}"
        "{% for message in said %}{% if loop.index0 >= said | length - 3 %}"
        "{% if message.role == 'user' %}<|user|>{{ message.content }}"
        "{% elif message.role == 'assistant' %}<|assistant|>{{ message.content }}<|end|>{% endif %}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    def put(name, array):
        array = np.ascontiguousarray(np.asarray(array, dtype=np.float32))
        if array.ndim == 1:
            w.add_tensor(name, array)
            return
        kind = gguf.GGMLQuantizationType.Q8_0
        w.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    put("token_embd.weight", params["emb"])
    put("output_norm.weight", params["norm"])
    for i, layer in enumerate(params["layers"]):
        put(f"blk.{i}.attn_norm.weight", layer["an"]); put(f"blk.{i}.ffn_norm.weight", layer["fn"])
        parts = dict(zip(("attn_q", "attn_k", "attn_v"), np.split(np.asarray(layer["qkv"]), 3, 1)))
        parts |= dict(zip(("ffn_gate", "ffn_up"), np.split(np.asarray(layer["gate_up"]), 2, 1)))
        parts |= {"attn_output": layer["o"], "ffn_down": layer["down"]}
        for name, weights in parts.items():
            put(f"blk.{i}.{name}.weight", np.asarray(weights).T)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("lessons", "held-out", "tokenizer", "shape", "name", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--begin", default="")
    parser.add_argument("--first-row", type=int, default=0)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--prompt-weight", type=float, default=0.1)
    parser.add_argument("--evenness", type=float, default=0.5)
    args = parser.parse_args()
    params, tok, shape = train(args)
    write(params, tok, shape, args)
