//! Recurrent networks against their equations, number by number.

use super::support::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::Tensor;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Rnn,
    Gru { linear_before_reset: bool },
    Lstm { peepholes: bool },
}

impl Kind {
    fn gates(self) -> usize {
        match self {
            Kind::Rnn => 1,
            Kind::Gru { .. } => 3,
            Kind::Lstm { .. } => 4,
        }
    }
}

/// Arguments of a network: sequence, weights, bias, initial state and cell, peepholes.
struct Args {
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor,
    h: Tensor,
    c: Tensor,
    p: Tensor,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// States after every step, and the last cell, of one direction of one sample.
fn states(kind: Kind, args: &Args, direction: usize, sample: usize, backward: bool) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (steps, inputs, hidden) = (args.x.shape[0], args.x.shape[2], args.r.shape[2]);
    let initial = |t: &Tensor| (0..hidden).map(|j| at(t, &[direction, sample, j])).collect::<Vec<_>>();
    let (mut h, mut c) = (initial(&args.h), initial(&args.c));
    let mut all = vec![vec![]; steps];
    for i in 0..steps {
        let t = if backward { steps - 1 - i } else { i };
        // Of gate `g`, the part of the input, with its bias, and that of the state, with its own.
        let input = |g: usize, j: usize| {
            let row = g * hidden + j;
            (0..inputs).map(|k| at(&args.w, &[direction, row, k]) * at(&args.x, &[t, sample, k])).sum::<f64>()
                + at(&args.b, &[direction, row])
        };
        let state = |g: usize, j: usize, h: &[f64]| {
            let row = g * hidden + j;
            let bias = at(&args.b, &[direction, kind.gates() * hidden + row]);
            (0..hidden).map(|k| at(&args.r, &[direction, row, k]) * h[k]).sum::<f64>() + bias
        };
        let peep = |g: usize, j: usize, c: &[f64]| match kind {
            Kind::Lstm { peepholes: true } => at(&args.p, &[direction, g * hidden + j]) * c[j],
            _ => 0.0,
        };
        let each = |f: &dyn Fn(usize) -> f64| (0..hidden).map(f).collect::<Vec<f64>>();
        h = match kind {
            Kind::Rnn => each(&|j| (input(0, j) + state(0, j, &h)).tanh()),
            Kind::Gru { linear_before_reset } => {
                let z = each(&|j| sigmoid(input(0, j) + state(0, j, &h)));
                let r = each(&|j| sigmoid(input(1, j) + state(1, j, &h)));
                let kept = each(&|j| r[j] * h[j]);
                let candidate = each(&|j| match linear_before_reset {
                    true => (input(2, j) + r[j] * state(2, j, &h)).tanh(),
                    false => (input(2, j) + state(2, j, &kept)).tanh(),
                });
                each(&|j| (1.0 - z[j]) * candidate[j] + z[j] * h[j])
            }
            Kind::Lstm { .. } => {
                let i = each(&|j| sigmoid(input(0, j) + state(0, j, &h) + peep(0, j, &c)));
                let f = each(&|j| sigmoid(input(2, j) + state(2, j, &h) + peep(2, j, &c)));
                let new = each(&|j| f[j] * c[j] + i[j] * (input(3, j) + state(3, j, &h)).tanh());
                let o = each(&|j| sigmoid(input(1, j) + state(1, j, &h) + peep(1, j, &new)));
                c = new;
                each(&|j| o[j] * c[j].tanh())
            }
        };
        all[t] = h.clone();
    }
    (all, c)
}

fn check_network(seed: u64, kind: Kind, direction: &str, batch_first: bool) {
    let mut r = StdRng::seed_from_u64(seed);
    let (steps, batch, inputs, hidden) = (r.random_range(1..5), r.random_range(1..4), r.random_range(1..5), r.random_range(1..5));
    let directions = if direction == "bidirectional" { 2 } else { 1 };
    let gates = kind.gates();
    let mut random = |shape: &[usize]| tabulate(shape, |_| r.random_range(-1.0..1.0));
    let args = Args {
        x: random(&[steps, batch, inputs]),
        w: random(&[directions, gates * hidden, inputs]),
        r: random(&[directions, gates * hidden, hidden]),
        b: random(&[directions, 2 * gates * hidden]),
        h: random(&[directions, batch, hidden]),
        c: random(&[directions, batch, hidden]),
        p: random(&[directions, 3 * hidden]),
    };
    let backward = |d: usize| direction == "reverse" || d == 1;
    let of = |d: usize, n: usize| states(kind, &args, d, n, backward(d));
    let last = |d: usize| if backward(d) { 0 } else { steps - 1 };
    let sequence = tabulate(&[steps, directions, batch, hidden], |i| of(i[1], i[2]).0[i[0]][i[3]]);
    let end = tabulate(&[directions, batch, hidden], |i| of(i[0], i[1]).0[last(i[0])][i[2]]);
    let cell = tabulate(&[directions, batch, hidden], |i| of(i[0], i[1]).1[i[2]]);

    let moved = |t: &Tensor, order: &[usize]| -> Tensor {
        let shape: Vec<usize> = order.iter().map(|&axis| t.shape[axis]).collect();
        tabulate(&shape, |i| {
            let mut from = vec![0; i.len()];
            order.iter().zip(i).for_each(|(&axis, &at)| from[axis] = at);
            at(t, &from)
        })
    };
    let (x, h, c, mut expected) = if batch_first {
        let swap = |t: &Tensor| moved(t, &[1, 0, 2]);
        (swap(&args.x), swap(&args.h), swap(&args.c), vec![moved(&sequence, &[2, 0, 1, 3]), swap(&end), swap(&cell)])
    } else {
        (args.x.clone(), args.h.clone(), args.c.clone(), vec![sequence, end, cell])
    };
    let mut list = vec![Arg::Run(x), Arg::Known(args.w), Arg::Known(args.r), Arg::Known(args.b), Arg::Absent, Arg::Run(h)];
    let mut attributes = vec![text("direction", direction), int("hidden_size", hidden as i64), int("layout", batch_first.into())];
    let op = match kind {
        Kind::Rnn => "RNN",
        Kind::Gru { linear_before_reset } => {
            attributes.push(int("linear_before_reset", linear_before_reset.into()));
            "GRU"
        }
        Kind::Lstm { peepholes } => {
            list.push(Arg::Run(c));
            if peepholes {
                list.push(Arg::Known(args.p));
            }
            "LSTM"
        }
    };
    if op != "LSTM" {
        expected.pop();
    }
    check_all(14, op, &attributes, &list, &expected);
}

#[test]
fn networks_of_every_kind_and_direction() {
    let kinds = [
        Kind::Rnn,
        Kind::Gru { linear_before_reset: false },
        Kind::Gru { linear_before_reset: true },
        Kind::Lstm { peepholes: false },
        Kind::Lstm { peepholes: true },
    ];
    let mut seed = 0;
    for kind in kinds {
        for direction in ["forward", "reverse", "bidirectional"] {
            for batch_first in [false, true] {
                for _ in 0..3 {
                    check_network(seed, kind, direction, batch_first);
                    seed += 1;
                }
            }
        }
    }
}

#[test]
fn what_is_not_supported_is_said() {
    let args = [Arg::Run(ramp(&[2, 1, 3])), Arg::Known(ramp(&[1, 8, 3])), Arg::Known(ramp(&[1, 8, 2]))];
    let lengths = |lengths: &[i64]| [&args[..], &[Arg::Absent, list(lengths)]].concat();
    refused(14, "LSTM", &[], &lengths(&[1]), "sequence_lens");
    assert!(apply(14, "LSTM", &[], &lengths(&[2]), 1).is_ok());
    refused(14, "LSTM", &[float("clip", 1.0)], &args, "the attribute `clip`");
    refused(14, "LSTM", &[texts("activations", &["Sigmoid", "Elu", "Tanh"])], &args, "the activation `Elu`");
    refused(14, "LSTM", &[text("direction", "sideways")], &args, "the direction `sideways`");
    refused(14, "GRU", &[], &args, "the shape of argument 2");
}
