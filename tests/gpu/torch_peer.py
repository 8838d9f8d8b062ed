"""PyTorch at the shapes of our programs: torch_peer.py [SECONDS] [cpu]

Attention by backend; GPT-2 124M (bf16, B = 16, T = 1024), also with a padded vocabulary; a Llama of 1B parameters
(B = 4, T = 4096); LoRA of rank 32 at the shape of an 8B Llama (B = 1, T = 4096). Each eager and with every block
compiled; head and loss are eager, weights and AdamW's states bf16. Lines of values between commas, as they come; what
fails says so in its line, and nothing begins after SECONDS (180). `cpu` goes through all of it at tiny shapes.
"""
import signal
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

limit_seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 180
cpu = "cpu" in sys.argv[2:]
device = "cpu" if cpu else "cuda"
begun = time.time()


def left():
    return limit_seconds - (time.time() - begun)


def sync():
    if not cpu:
        torch.cuda.synchronize()


def say(*values):
    print(*values, sep=",", flush=True)


def first_line(error):
    return (str(error).split("\n")[0] or type(error).__name__)[:100].replace(",", ";")


def timed(call, seconds=1.0, most=30):
    """The median of so many calls as fit."""
    call()
    sync()
    begin = time.time()
    call()
    sync()
    once = time.time() - begin
    times = []
    for _ in range(max(2, min(most, int(seconds / max(once, 1e-4))))):
        begin = time.time()
        call()
        sync()
        times.append(time.time() - begin)
    return sorted(times)[len(times) // 2]


# ---- attention ----


def attention(B, H, K, T, E, name, backend):
    def random(heads):
        return torch.randn(B, heads, T, E, device=device, dtype=torch.bfloat16, requires_grad=True)

    q, k, v = random(H), random(K), random(K)
    gradient = torch.randn_like(q)

    def forward():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=H != K)

    with sdpa_kernel(backend):
        forth = timed(forward, 0.3)
        both = timed(lambda: torch.autograd.grad(forward(), (q, k, v), gradient), 0.5)
    back = max(both - forth, 1e-9)
    flops = 2 * B * H * T * T * E  # of the two products, half of each
    say("attention", name, f"B {B} H {H} K {K} T {T} E {E}", "forward us", round(forth * 1e6, 1), "TFLOP/s",
        round(flops / forth / 1e12, 1), "backward us", round(back * 1e6, 1), "TFLOP/s",
        round(2.5 * flops / back / 1e12, 1))


def attentions():
    shapes = [(16, 12, 12, 1024, 64), (4, 32, 8, 4096, 64), (1, 32, 8, 4096, 128), (2, 16, 16, 8192, 128)]
    backends = [("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)]
    if cpu:
        shapes, backends = [(1, 2, 2, 64, 32)], [*backends, ("math", SDPBackend.MATH)]
    for shape in shapes:
        for name, backend in backends:
            if left() < 10:
                return say("attention", "no time left")
            try:
                attention(*shape, name, backend)
            except Exception as error:
                say("attention", name, *shape, "failed", first_line(error))


# ---- models ----


class Norm(nn.Module):
    def __init__(self, width, rms):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = None if rms else nn.Parameter(torch.zeros(width))

    def forward(self, x):
        if self.bias is None:
            return F.rms_norm(x, x.shape[-1:], self.weight, 1e-5)
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias)


class Lora(nn.Module):
    """A frozen matrix and a trained product of two narrow ones."""

    def __init__(self, inputs, outputs, rank):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs), requires_grad=False)
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.empty(outputs, rank))

    def forward(self, x):
        return F.linear(x, self.weight) + F.linear(F.linear(x, self.a), self.b)


class Block(nn.Module):
    def __init__(self, D, H, K, hidden, llama, rank):
        super().__init__()
        self.D, self.H, self.K, self.E, self.llama = D, H, K, D // H, llama

        def linear(inputs, outputs):
            return Lora(inputs, outputs, rank) if rank else nn.Linear(inputs, outputs, bias=not llama)

        self.norm_1, self.norm_2 = Norm(D, llama), Norm(D, llama)
        self.qkv, self.out = linear(D, (H + 2 * K) * self.E), linear(H * self.E, D)
        self.up, self.down = linear(D, 2 * hidden if llama else hidden), linear(hidden, D)

    def rotated(self, x, cos, sin):
        half = self.E // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    def forward(self, x, cos, sin):
        B, T, _ = x.shape
        parts = self.qkv(self.norm_1(x)).split([self.H * self.E, self.K * self.E, self.K * self.E], 2)
        q, k, v = (part.view(B, T, -1, self.E).transpose(1, 2) for part in parts)
        if self.llama:
            q, k = self.rotated(q, cos, sin), self.rotated(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.H != self.K)
        x = x + self.out(mixed.transpose(1, 2).reshape(B, T, -1))
        hidden = self.up(self.norm_2(x))
        if self.llama:
            gate, up = hidden.chunk(2, -1)
            return x + self.down(F.silu(gate) * up)
        return x + self.down(F.gelu(hidden, approximate="tanh"))


class Model(nn.Module):
    def __init__(self, V, D, L, H, K, hidden, T, llama, rank):
        super().__init__()
        self.embed = nn.Embedding(V, D)
        self.positions = None if llama else nn.Embedding(T, D)
        self.blocks = nn.ModuleList(Block(D, H, K, hidden, llama, rank) for _ in range(L))
        self.norm = Norm(D, llama)
        self.head = nn.Linear(D, V, bias=False)
        if not llama:
            self.head.weight = self.embed.weight
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)
        if rank:
            for module in (self.embed, self.head, self.norm, *(n for b in self.blocks for n in (b.norm_1, b.norm_2))):
                module.requires_grad_(False)
        E = D // H
        angle = torch.outer(torch.arange(T).float(), 5e5 ** (-torch.arange(0, E, 2).float() / E)).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), False)
        self.register_buffer("sin", angle.sin(), False)

    def forward(self, tokens, targets, run):
        x = self.embed(tokens)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = run(block, x, self.cos.to(x.dtype), self.sin.to(x.dtype))
        return F.cross_entropy(self.head(self.norm(x)).view(-1, self.head.out_features), targets.view(-1))


def train(name, mode, V, D, L, H, K, hidden, B, T, llama, rank):
    with torch.device(device):
        model = Model(V, D, L, H, K, hidden, T, llama, rank).to(torch.bfloat16)
        tokens, targets = (torch.randint(0, V, (B, T)) for _ in range(2))
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    if mode == "compiled":
        torch._dynamo.reset()
        for block in model.blocks:
            block.compile(dynamic=False)

    def run(block, *arguments):  # with adapters, every block again in the backward pass
        return checkpoint(block, *arguments, use_reentrant=False) if rank else block(*arguments)

    def step():
        model(tokens, targets, run).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if not cpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begin = time.time()
    step()
    sync()
    first = time.time() - begin
    seconds = timed(step, 4, 12)
    weights = sum(weight.numel() for weight in model.parameters())
    if llama:
        weights -= model.embed.weight.numel()
    flops = (4 if rank else 6) * weights * B * T + 6 * L * T * D * B * T
    peak = 0 if cpu else torch.cuda.max_memory_allocated()
    say("peer", name, mode, "s a step", round(seconds, 5), "tokens/s", round(B * T / seconds), "model TFLOP/s",
        round(flops / seconds / 1e12, 1), "first step s", round(first, 1), "peak bytes", peak)


def out_of_time(*_):
    raise TimeoutError("out of time")


def trains(name, share, *shape):
    """Eager and compiled, each in at most `share` seconds and what is left."""
    for mode in ("eager", "compiled"):
        if left() < share / 2:
            say("peer", name, mode, "no time left")
            continue
        signal.signal(signal.SIGALRM, out_of_time)
        signal.setitimer(signal.ITIMER_REAL, max(1, min(share, left())))
        try:
            train(name, mode, *shape)
        except Exception as error:
            say("peer", name, mode, "failed", first_line(error))
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not cpu:
            torch.cuda.empty_cache()


say("torch", torch.__version__, "cuda", torch.version.cuda, "device", "cpu" if cpu else torch.cuda.get_device_name())
attentions()
#            name, seconds,      V,      D,  L,  H,  K, hidden, B, T, llama, rank
if cpu:
    trains("gpt2-124m tiny", 60, 257, 64, 2, 2, 2, 128, 2, 32, False, 0)
    trains("llama-1b tiny", 60, 257, 64, 2, 4, 2, 128, 2, 32, True, 0)
    trains("8b-lora tiny", 60, 257, 64, 2, 4, 2, 128, 2, 32, True, 4)
else:
    trains("gpt2-124m", 40, 50257, 768, 12, 12, 12, 3072, 16, 1024, False, 0)
    trains("gpt2-124m V 50304", 40, 50304, 768, 12, 12, 12, 3072, 16, 1024, False, 0)
    trains("llama-1b", 40, 128256, 2048, 16, 32, 8, 8192, 4, 4096, True, 0)
    trains("8b-lora", 40, 128256, 4096, 32, 32, 8, 14336, 1, 4096, True, 32)
say("done", round(time.time() - begun, 1), "s")
