"""The equations of the three network families, written out to be read; networks use PyTorch's own.

Each equals PyTorch's to 1e-5, values and gradients (tests/models/test_layers.py). Where a gradient
sums over thousands of places, single precision alone makes the two differ by more, up to a few
1e-4; in double precision they agree to 1e-12, which is tested for convolution.

E2, E16 and so on are the entries of docs/explanation/errata.md: where the founding text's formula
is another one.
Letters: B images or sequences, C channels, H and W sides, T steps, D inputs, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Images: convolution and pooling


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """Slide each filter over the image; at each place, multiply and sum.

    y[o,i,j] = b[o] + sum over c,p,q of x[c, s i + p - pad, s j + q - pad] w[o,c,p,q]

    with s the stride and x = 0 outside the image. The filter is not flipped, so mathematicians call
    this cross-correlation. The founding text has one channel, one filter, no bias, s = 1 and
    pad = 0 (E16).

    Args:
        x: (B, C, H, W).
        weight: (O, C, P, Q), O filters.
        bias: (O,).
        stride, padding: pixels, the same along both sides.

    Returns:
        (B, O, h, w), with h = floor((H + 2 pad - P) / s) + 1, and w likewise.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, equations 9.6 and 9.8.

    >>> ramp = torch.tensor([[[[1.0, 2.0, 4.0]]]])
    >>> convolution(ramp, torch.tensor([[[[-1.0, 1.0]]]])).flatten().tolist()
    [1.0, 2.0]
    """
    height, width = weight.shape[-2:]
    windows = _windows(F.pad(x, [padding] * 4), height, width, stride)
    y = torch.einsum("bcijpq,ocpq->boij", windows, weight)
    return y if bias is None else y + bias[:, None, None]


def max_pool(x: Tensor, size: int, stride: int | None = None) -> Tensor:
    """The largest pixel of each window.

    y[c,i,j] = max over 0 <= p,q < size of x[c, s i + p, s j + q]

    The founding text does not say which p and q the maximum runs over, so its window has no size
    apart from its stride (E18). Of equal maxima, the first alone receives the gradient.

    Args:
        x: (B, C, H, W).
        size: pixels, the window's side.
        stride: s, in pixels; None stands for `size`.

    Returns:
        (B, C, h, w), with h = floor((H - size) / s) + 1, and w likewise: what is left over at the
        far end is dropped.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, section 9.3.

    >>> max_pool(torch.tensor([[[[1.0, 5.0, 9.0], [3.0, 2.0, 9.0]]]]), 2).item()
    5.0
    """
    windows = _windows(x, size, size, size if stride is None else stride)
    return windows.flatten(-2).max(-1).values


def average_pool(x: Tensor, size: int, stride: int | None = None) -> Tensor:
    """The mean pixel of each window.

    y[c,i,j] = 1 / size^2 * sum over 0 <= p,q < size of x[c, s i + p, s j + q]

    The founding text promises it and gives no formula (E18). Shapes are those of `max_pool`.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, section 9.3.

    >>> average_pool(torch.tensor([[[[1.0, 5.0, 9.0], [3.0, 3.0, 9.0]]]]), 2).item()
    3.0
    """
    return _windows(x, size, size, size if stride is None else stride).mean((-2, -1))


def _windows(x: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Every window of an image: (B, C, H, W) -> (B, C, i, j, height, width)."""
    return x.unfold(2, height, stride).unfold(3, width, stride)


# Sequences: recurrence and gates


def recurrence(
    x: Tensor, weight_input: Tensor, weight_hidden: Tensor, bias: Tensor, h0: Tensor | None = None
) -> Tensor:
    """The simple recurrent cell: each state is made of this step and of the state before.

    h[t] = tanh(W x[t] + U h[t-1] + b)

    The founding text writes [U, W] as one matrix over [h, x], and leaves open the function, which
    is tanh here, and the first state, which is 0 here (E14).

    Args:
        x: (B, T, D), T at least 1.
        weight_input: W, (H, D).
        weight_hidden: U, (H, H).
        bias: b, (H,); PyTorch keeps two biases, and b is their sum.
        h0: h[-1], (B, H).

    Returns:
        All states, (B, T, H).

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, equations 10.8 and 10.9, after
    Elman 1990, Finding structure in time.

    >>> one = torch.ones(1, 1)
    >>> states = recurrence(torch.zeros(1, 3, 1), one, one, torch.zeros(1), h0=one)
    >>> [round(state, 4) for state in states.flatten().tolist()]  # tanh of tanh of tanh of 1
    [0.7616, 0.642, 0.5663]
    """
    hidden = _first_state(x, weight_hidden) if h0 is None else h0
    states = []
    for step in x.unbind(1):
        hidden = torch.tanh(step @ weight_input.T + hidden @ weight_hidden.T + bias)
        states.append(hidden)
    return torch.stack(states, dim=1)


def lstm(
    x: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias_input: Tensor,
    bias_hidden: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Long short-term memory: a cell that adds to what it keeps, behind three gates.

    i = sigmoid(W_i x[t] + a_i + U_i h[t-1] + b_i)     how much to write
    f = sigmoid(W_f x[t] + a_f + U_f h[t-1] + b_f)     how much to keep
    g = tanh(W_g x[t] + a_g + U_g h[t-1] + b_g)        what to write
    o = sigmoid(W_o x[t] + a_o + U_o h[t-1] + b_o)     how much to show
    c[t] = f c[t-1] + i g
    h[t] = o tanh(c[t])

    The founding text has no gates (E14). Gradients live through c only where f is near 1, so a
    network should start with b_f > 0.

    Args:
        x: (B, T, D), T at least 1.
        weight_input, weight_hidden: W (4H, D) and U (4H, H), rows in the order i, f, g, o.
        bias_input, bias_hidden: a and b, (4H,), the same order; only their sum matters.
        h0, c0: h[-1] and c[-1], (B, H); None stands for 0.

    Returns:
        All states h and all cells c, each (B, T, H).

    Source: Hochreiter and Schmidhuber 1997, Long short-term memory; f from Gers, Schmidhuber and
    Cummins 2000, Learning to forget; its bias from Jozefowicz, Zaremba and Sutskever 2015, An
    empirical exploration of recurrent network architectures. Order of rows: torch.nn.LSTM.

    >>> layer, x = torch.nn.LSTM(3, 5, batch_first=True), torch.rand(2, 7, 3)
    >>> states, cells = lstm(x, *layer.parameters())
    >>> torch.allclose(states, layer(x)[0], atol=1e-5)
    True
    """
    hidden = _first_state(x, weight_hidden) if h0 is None else h0
    cell = _first_state(x, weight_hidden) if c0 is None else c0
    states, cells = [], []
    for step in x.unbind(1):
        gates = step @ weight_input.T + bias_input + hidden @ weight_hidden.T + bias_hidden
        i, f, g, o = gates.chunk(4, dim=1)
        cell = sigmoid(f) * cell + sigmoid(i) * torch.tanh(g)
        hidden = sigmoid(o) * torch.tanh(cell)
        states.append(hidden)
        cells.append(cell)
    return torch.stack(states, dim=1), torch.stack(cells, dim=1)


def gru(
    x: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias_input: Tensor,
    bias_hidden: Tensor,
    h0: Tensor | None = None,
) -> Tensor:
    """Gated recurrent unit: each state is a mixture of the state before and of a candidate.

    r = sigmoid(W_r x[t] + a_r + U_r h[t-1] + b_r)         how much of the past the candidate sees
    z = sigmoid(W_z x[t] + a_z + U_z h[t-1] + b_z)         how much to keep
    n = tanh(W_n x[t] + a_n + r (U_n h[t-1] + b_n))        the candidate
    h[t] = (1 - z) n + z h[t-1]

    The founding text has no gates (E14). The paper's candidate has U_n (r h[t-1]), without biases;
    PyTorch applies r after U_n, and so does this. Because of r, a_n and b_n are not one bias.

    Args:
        x: (B, T, D), T at least 1.
        weight_input, weight_hidden: W (3H, D) and U (3H, H), rows in the order r, z, n.
        bias_input, bias_hidden: a and b, (3H,), the same order.
        h0: h[-1], (B, H); None stands for 0.

    Returns:
        All states, (B, T, H).

    Source: Cho et al. 2014, arXiv:1406.1078, equations 5 to 8. Order of rows: torch.nn.GRU.

    >>> layer, x = torch.nn.GRU(3, 5, batch_first=True), torch.rand(2, 7, 3)
    >>> torch.allclose(gru(x, *layer.parameters()), layer(x)[0], atol=1e-5)
    True
    """
    hidden = _first_state(x, weight_hidden) if h0 is None else h0
    states = []
    for step in x.unbind(1):
        r_new, z_new, n_new = (step @ weight_input.T + bias_input).chunk(3, dim=1)
        r_old, z_old, n_old = (hidden @ weight_hidden.T + bias_hidden).chunk(3, dim=1)
        r, z = sigmoid(r_new + r_old), sigmoid(z_new + z_old)
        n = torch.tanh(n_new + r * n_old)
        hidden = (1 - z) * n + z * hidden
        states.append(hidden)
    return torch.stack(states, dim=1)


def _first_state(x: Tensor, weight_hidden: Tensor) -> Tensor:
    """Zeros (B, H), in the type and on the device of x."""
    return x.new_zeros(len(x), weight_hidden.shape[1])


# Transformers: attention and positions


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Each query takes the average of the values, weighted by how well their keys agree with it.

    A[i,j] = exp(q[i].k[j] / sqrt(d)) / sum over allowed j' of exp(q[i].k[j'] / sqrt(d))
    y[i]   = sum over j of A[i,j] v[j]

    The softmax runs over the keys j, row by row, and A[i,j] = 0 where the mask forbids j. d is the
    length of one key vector; the founding text says "the dimension of the key matrix" and has no
    mask (E11).

    Args:
        query: (..., L, d).
        key: (..., S, d).
        value: (..., S, v).
        mask: booleans that broadcast to (..., L, S); True: query i may look at key j.

    Returns:
        y (..., L, v) and A (..., L, S), whose rows sum to 1.

    Raises:
        ValueError: if a query may look at no key, since its row cannot sum to 1.

    Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1 and section 3.2.3.

    >>> keys, values = torch.eye(2), torch.tensor([[1.0], [2.0]])
    >>> may_look = torch.tensor([[True, False], [True, True]])
    >>> output, weights = attention(torch.zeros(2, 2), keys, values, may_look)
    >>> output.flatten().tolist()
    [1.0, 1.5]
    """
    scores = torch.einsum("...id,...jd->...ij", query, key) / math.sqrt(key.shape[-1])
    if mask is not None:
        if not mask.any(-1).all():
            raise ValueError("a row of the mask allows no key; each query needs at least one.")
        scores = scores.masked_fill(~mask, -math.inf)
    weights = softmax(scores, dim=-1)
    return torch.einsum("...ij,...jv->...iv", weights, value), weights


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    in_weight: Tensor,
    in_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    heads: int,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Several attentions side by side, each on its own projection; their outputs are mixed.

    y_m = attention(W_Q,m query + b_Q,m,  W_K,m key + b_K,m,  W_V,m value + b_V,m)
    y   = W_O [y_1, ..., y_heads] + b_O

    The founding text has one head (E11). One head's d is E / heads.

    Args:
        query: (B, L, E).
        key, value: (B, S, E).
        in_weight: (3E, E), the rows of W_Q, then W_K, then W_V; in each, head after head.
        in_bias: (3E,), the same order.
        out_weight, out_bias: W_O (E, E) and b_O (E,).
        heads: a divisor of E.
        mask: booleans (L, S), or (B, L, S) for one each; True: query i may look at key j. An axis
            may be 1: (B, 1, S) masks padded keys.

    Returns:
        y (B, L, E) and the weights of each head, (B, heads, L, S).

    Raises:
        ValueError: if E is not a multiple of heads, or a query may look at no key.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. Order of rows:
    torch.nn.MultiheadAttention.

    >>> layer = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.rand(3, 5, 8)
    >>> output, weights = multi_head_attention(x, x, x, *layer.parameters(), heads=2)
    >>> torch.allclose(output, layer(x, x, x)[0], atol=1e-5), weights.shape
    (True, torch.Size([3, 2, 5, 5]))
    """
    width = query.shape[-1]
    if width % heads:
        raise ValueError(f"the width must be a multiple of heads; got {width} and {heads}.")
    q, k, v = (
        _split_heads(sequence @ weight.T + bias, heads)
        for sequence, weight, bias in zip(
            (query, key, value), in_weight.chunk(3), in_bias.chunk(3), strict=True
        )
    )
    same_for_all_heads = None if mask is None else mask.unsqueeze(-3)
    output, weights = attention(q, k, v, same_for_all_heads)
    return output.transpose(1, 2).flatten(2) @ out_weight.T + out_bias, weights


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, E) -> (B, heads, L, E / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def sinusoidal_positions(count: int, width: int) -> Tensor:
    """One vector for each of the positions 0..count-1, all different and known beforehand.

    P[t, 2k]     = sin(t / 10000^(2k / width))
    P[t, 2k + 1] = cos(t / 10000^(2k / width))

    The founding text adds sine and cosine up to one number, with the exponent on the position: over
    512 positions its values span 1.3e-4 at most, where two vectors of width 64 are at least 1.47
    apart (E2).

    Returns:
        (count, width), in [-1, 1], float32.

    Raises:
        ValueError: if width is not a positive even number: sines and cosines come in pairs.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.

    >>> sinusoidal_positions(2, 4)[0].tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    if width < 2 or width % 2:
        raise ValueError(f"width must be a positive even number; got {width}.")
    # In double precision: float32 angles are off by 2.8e-5 within 512 positions at width 64.
    t = torch.arange(count, dtype=torch.float64)
    k = torch.arange(width // 2, dtype=torch.float64)
    angle = t[:, None] / 10000 ** (2 * k / width)
    pairs = torch.stack([angle.sin(), angle.cos()], dim=-1)  # (count, width / 2, 2)
    return pairs.flatten(1).float()


def sinusoidal_positions_2d(rows: int, columns: int, width: int) -> Tensor:
    """One vector for each cell of a grid: half of it tells the row, the other half the column.

    P[i, j] = [R[i], C[j]], with R and C the `sinusoidal_positions` of width / 2.

    The founding text has one number for a place in a sequence, and none for an image (E2, E3).

    Returns:
        (rows, columns, width), in [-1, 1], float32.

    Raises:
        ValueError: if width is not a positive multiple of 4.

    Source: Chen, Xie and He 2021, arXiv:2104.02057 (MoCo v3), whose released code has the same
    numbers in another order.

    >>> grid = sinusoidal_positions_2d(3, 5, 8)
    >>> torch.equal(grid[2, 0, :4], grid[2, 4, :4])  # the same row
    True
    """
    if width < 4 or width % 4:
        raise ValueError(f"width must be a positive multiple of 4; got {width}.")
    row = sinusoidal_positions(rows, width // 2)[:, None].expand(-1, columns, -1)
    column = sinusoidal_positions(columns, width // 2)[None].expand(rows, -1, -1)
    return torch.cat([row, column], dim=-1)


# Answers: probabilities and the loss


def softmax(logits: Tensor, dim: int) -> Tensor:
    """Logits of any shape -> probabilities that sum to 1 along `dim`.

    p[k] = exp(l[k]) / sum over k' of exp(l[k'])

    The largest logit is subtracted first: that changes no ratio, and exp no longer overflows.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, equations 4.1 and 6.29.

    >>> softmax(torch.tensor([1000.0, 1000.0]), dim=0)
    tensor([0.5000, 0.5000])
    """
    powers = (logits - logits.detach().amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


def sigmoid(x: Tensor) -> Tensor:
    """Any number -> (0, 1): the share of one of two classes.

    s(x) = 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2

    Computed in the second form, in which nothing overflows.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, equation 3.30.

    >>> sigmoid(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return (1 + torch.tanh(x / 2)) / 2


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """How surprised the softmax of the logits is by the true classes, on average, in nats.

    loss = -1/B sum over b of log p[b, targets[b]], with p = softmax(l), that is
         = 1/B sum over b of (log sum over k of exp(l[b,k]) - l[b, targets[b]])

    The softmax is inside: hand in logits. The founding text's example hands in probabilities, with
    which the loss of a perfect network of ten classes is 1.461, not 0 (E1).

    Args:
        logits: l, (B, K), B at least 1.
        targets: (B,) integers in 0..K-1.

    Returns:
        One number, 0 or more.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, equation 6.30.

    >>> round(cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)  # log 10
    2.3026
    """
    shifted = logits - logits.detach().amax(1, keepdim=True)  # as in softmax
    of_target = shifted.gather(1, targets[:, None])[:, 0]
    return (shifted.exp().sum(1).log() - of_target).mean()
