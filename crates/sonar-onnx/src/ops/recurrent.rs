//! Recurrent networks, expanded step by step: the length of a sequence is known at import.

use crate::build::{Builder, Value};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::{BinaryOp, UnaryOp};

type Results = Result<Vec<Value>, Refusal>;

/// The longest sequence; every step adds its own operators.
const MAX_STEPS: usize = 1 << 10;

/// A recurrent network of one direction, with all values that do not depend on the step.
struct Network<'a> {
    /// Extent of the state.
    hidden: usize,
    /// Functions, in the order of the attribute `activations`.
    functions: &'a [UnaryOp],
    /// The recurrent weights, `[hidden, gates · hidden]` each, with their biases: one for each product of a step.
    recurrent: Vec<(Value, Option<Value>)>,
    /// Weights of the cell in the gates `i`, `o` and `f`.
    peepholes: Option<[Value; 3]>,
    /// Whether the reset gate is applied after the recurrent product.
    linear_before_reset: bool,
    /// Whether the forget gate is 1 minus the input gate.
    input_forget: bool,
}

/// The state of a network; each part has the shape `[batch, hidden]`.
#[derive(Clone)]
struct State {
    hidden: Value,
    cell: Option<Value>,
}

type Step = fn(&mut Builder, &Network<'_>, &Value, &State) -> Result<State, Refusal>;

pub fn rnn(b: &mut Builder, call: &Call<'_>) -> Results {
    network(b, call, &[1], &["Tanh"], rnn_step)
}

pub fn gru(b: &mut Builder, call: &Call<'_>) -> Results {
    network(b, call, &[2, 1], &["Sigmoid", "Tanh"], gru_step)
}

pub fn lstm(b: &mut Builder, call: &Call<'_>) -> Results {
    network(b, call, &[4], &["Sigmoid", "Tanh", "Tanh"], lstm_step)
}

/// All directions of a network. The results are the sequence of its states, the last state, and with four gates the last cell.
///
/// `products` has the number of gates for each recurrent product of a step.
fn network(b: &mut Builder, call: &Call<'_>, products: &[usize], defaults: &[&str], step: Step) -> Results {
    let gates: usize = products.iter().sum();
    let batch_first = call.flag("layout", false)?;
    let x = call.input(0)?;
    let x = if batch_first && x.rank() == 3 { b.transpose(x, &[1, 0, 2])? } else { x.clone() };
    let &[steps, batch, inputs] = x.shape() else { return Err(Refusal::invalid("expected a sequence of rank 3")) };
    if steps > MAX_STEPS {
        return Err(Refusal::unsupported(format!("a sequence of {steps} steps; at most {MAX_STEPS} are unrolled")));
    }
    let (directions, backward) = match call.text("direction", "forward")?.as_str() {
        "forward" => (1, [false, false]),
        "reverse" => (1, [true, false]),
        "bidirectional" => (2, [false, true]),
        other => return Err(Refusal::invalid(format!("the direction `{other}`"))),
    };
    let hidden = call.input(2)?.shape().last().copied().unwrap_or(0);
    let shapes = [(1, gates * hidden, inputs), (2, gates * hidden, hidden)];
    if let Some((index, ..)) = shapes
        .iter()
        .find(|(index, rows, columns)| call.optional(*index).is_none_or(|w| w.shape() != [directions, *rows, *columns]))
    {
        return Err(Refusal::invalid(format!("the shape of argument {}", index + 1)));
    }
    if call.int("hidden_size", hidden as i64)? != hidden as i64 {
        return Err(Refusal::invalid("hidden_size differs from the extent of the weights"));
    }
    if call.has("clip") {
        return Err(Refusal::unsupported("the attribute `clip`"));
    }
    full_length(call, steps)?;
    let functions = functions(call, directions, defaults)?;
    let (linear_before_reset, input_forget) = match gates {
        3 => (call.flag("linear_before_reset", false)?, false),
        4 => (false, call.flag("input_forget", false)?),
        _ => (false, false),
    };

    let flat = b.reshape(&x, &[steps * batch, inputs])?;
    let mut ends = Vec::new();
    let mut sequences = Vec::new();
    for direction in 0..directions {
        // The part of an argument for this direction, without the axis of directions.
        let part = |b: &mut Builder, index: usize| -> Result<Option<Value>, Refusal> {
            let Some(value) = call.optional(index) else { return Ok(None) };
            let found = value.shape().first() == Some(&directions);
            if !found {
                return Err(Refusal::invalid(format!("the shape of argument {}", index + 1)));
            }
            let value = b.slice(value, 0, direction, 1, 1)?;
            b.reshape(&value, &value.shape()[1..]).map(Some)
        };
        let expected = |value: Option<Value>, what: &str, shape: &[usize]| match value {
            Some(value) if value.shape() != shape => Err(Refusal::invalid(format!("the shape of the {what}"))),
            value => Ok(value),
        };
        let bias = expected(part(b, 3)?, "bias", &[2 * gates * hidden])?;
        let mut transposed = |index: usize| -> Result<Value, Refusal> {
            let weight = part(b, index)?.ok_or_else(|| Refusal::invalid(format!("argument {} is missing", index + 1)))?;
            b.transpose(&weight, &[1, 0])
        };
        let (weight, recurrent) = (transposed(1)?, transposed(2)?);
        let input_bias = bias.as_ref().map(|bias| b.slice(bias, 0, 0, 1, gates * hidden)).transpose()?;
        let mut recurrent_parts = Vec::new();
        let mut first = 0;
        for &count in products {
            let (start, width) = (first * hidden, count * hidden);
            let own = bias.as_ref().map(|bias| b.slice(bias, 0, gates * hidden + start, 1, width)).transpose()?;
            recurrent_parts.push((b.slice(&recurrent, 1, start, 1, width)?, own));
            first += count;
        }
        let peepholes = if gates == 4 { expected(part(b, 7)?, "peepholes", &[3 * hidden])? } else { None };
        let peepholes = match &peepholes {
            None => None,
            Some(all) => Some([
                b.slice(all, 0, 0, 1, hidden)?,
                b.slice(all, 0, hidden, 1, hidden)?,
                b.slice(all, 0, 2 * hidden, 1, hidden)?,
            ]),
        };
        let network = Network {
            hidden,
            functions: &functions[direction * defaults.len()..][..defaults.len()],
            recurrent: recurrent_parts,
            peepholes,
            linear_before_reset,
            input_forget,
        };
        let mut product = b.matmul(&flat, &weight)?;
        if let Some(bias) = input_bias {
            product = b.binary(BinaryOp::Add, &product, &bias)?;
        }
        let initial = |b: &mut Builder, index: usize| -> Result<Value, Refusal> {
            let Some(value) = call.optional(index) else { return b.expand(&Value::float(0.0), &[batch, hidden]) };
            let value = if batch_first && value.rank() == 3 { b.transpose(value, &[1, 0, 2])? } else { value.clone() };
            if value.shape() != [directions, batch, hidden] {
                return Err(Refusal::invalid(format!("the shape of argument {}", index + 1)));
            }
            let value = b.slice(&value, 0, direction, 1, 1)?;
            b.reshape(&value, &[batch, hidden])
        };
        let mut state = State { hidden: initial(b, 5)?, cell: None };
        if gates == 4 {
            state.cell = Some(initial(b, 6)?);
        }
        let mut states = Vec::new();
        for i in 0..steps {
            let at = if backward[direction] { steps - 1 - i } else { i };
            let input = b.slice(&product, 0, at * batch, 1, batch)?;
            state = step(b, &network, &input, &state)?;
            states.push(b.reshape(&state.hidden, &[1, 1, batch, hidden])?);
        }
        if backward[direction] {
            states.reverse();
        }
        sequences.push(if call.wants(0) { Some(b.concat(&states.iter().collect::<Vec<_>>(), 0)?) } else { None });
        ends.push(state);
    }

    let end = |b: &mut Builder, of: fn(&State) -> Option<&Value>| -> Result<Option<Value>, Refusal> {
        let Some(parts) = ends.iter().map(of).collect::<Option<Vec<&Value>>>() else { return Ok(None) };
        let parts = parts.into_iter().map(|v| b.reshape(v, &[1, batch, hidden])).collect::<Result<Vec<_>, _>>()?;
        let joined = b.concat(&parts.iter().collect::<Vec<_>>(), 0)?;
        if batch_first { b.transpose(&joined, &[1, 0, 2]).map(Some) } else { Ok(Some(joined)) }
    };
    let last = end(b, |state| Some(&state.hidden))?;
    let cell = end(b, |state| state.cell.as_ref())?;
    let sequence = match sequences.into_iter().collect::<Option<Vec<Value>>>() {
        Some(parts) => {
            let joined = b.concat(&parts.iter().collect::<Vec<_>>(), 1)?;
            if batch_first { Some(b.transpose(&joined, &[2, 0, 1, 3])?) } else { Some(joined) }
        }
        // The sequence is not used: the last state takes its place.
        None => last.clone(),
    };
    Ok([sequence, last, cell].into_iter().flatten().collect())
}

/// Refuses sequences that end before the last step.
fn full_length(call: &Call<'_>, steps: usize) -> Result<(), Refusal> {
    match call.optional(4) {
        None => Ok(()),
        Some(Value::Known(lengths)) if lengths.as_ints()?.iter().all(|&length| length == steps as i64) => Ok(()),
        Some(_) => Err(Refusal::unsupported("sequences of their own lengths (`sequence_lens`)")),
    }
}

/// The activations of all directions: those that the file names, or the defaults.
fn functions(call: &Call<'_>, directions: usize, defaults: &[&str]) -> Result<Vec<UnaryOp>, Refusal> {
    let given = call.texts("activations")?;
    let names: Vec<String> = match given {
        Some(names) => names,
        None => defaults.repeat(directions).iter().map(ToString::to_string).collect(),
    };
    if names.len() != directions * defaults.len() {
        return Err(Refusal::invalid(format!("{} activations", names.len())));
    }
    let function = |name: &String| match name.to_ascii_lowercase().as_str() {
        "sigmoid" => Ok(UnaryOp::Sigmoid),
        "tanh" => Ok(UnaryOp::Tanh),
        "relu" => Ok(UnaryOp::Relu),
        _ => Err(Refusal::unsupported(format!("the activation `{name}`"))),
    };
    names.iter().map(function).collect()
}

impl Builder {
    /// The columns of `[batch, gates · hidden]` for the given gates.
    fn gates(&mut self, value: &Value, network: &Network<'_>, first: usize, count: usize) -> Result<Value, Refusal> {
        self.slice(value, 1, first * network.hidden, 1, count * network.hidden)
    }

    /// `R h + bias`, for one of the products of a step.
    fn recur(&mut self, network: &Network<'_>, product: usize, hidden: &Value) -> Result<Value, Refusal> {
        let (weight, bias) = &network.recurrent[product];
        let product = self.matmul(hidden, weight)?;
        match bias {
            Some(bias) => self.binary(BinaryOp::Add, &product, bias),
            None => Ok(product),
        }
    }

    /// `value + peephole · cell`.
    fn peep(&mut self, value: &Value, network: &Network<'_>, gate: usize, cell: &Value) -> Result<Value, Refusal> {
        let Some(peepholes) = &network.peepholes else { return Ok(value.clone()) };
        let term = self.binary(BinaryOp::Mul, cell, &peepholes[gate])?;
        self.binary(BinaryOp::Add, value, &term)
    }

    /// `1 - value`
    fn rest(&mut self, value: &Value) -> Result<Value, Refusal> {
        self.binary(BinaryOp::Sub, &Value::float(1.0), value)
    }
}

/// `f(x + R h)`
fn rnn_step(b: &mut Builder, network: &Network<'_>, input: &Value, state: &State) -> Result<State, Refusal> {
    let product = b.recur(network, 0, &state.hidden)?;
    let sum = b.binary(BinaryOp::Add, input, &product)?;
    Ok(State { hidden: b.unary(network.functions[0], &sum)?, cell: None })
}

/// Gates `z`, `r` and `h`: `(1 - z) · g(x + r · R h) + z · h`, or with `R (r · h)` instead of `r · R h`.
fn gru_step(b: &mut Builder, network: &Network<'_>, input: &Value, state: &State) -> Result<State, Refusal> {
    let (hidden, functions) = (&state.hidden, network.functions);
    let product = b.recur(network, 0, hidden)?;
    let own = b.gates(input, network, 0, 2)?;
    let sum = b.binary(BinaryOp::Add, &own, &product)?;
    let gates = b.unary(functions[0], &sum)?;
    let (update, reset) = (b.gates(&gates, network, 0, 1)?, b.gates(&gates, network, 1, 1)?);

    let product = if network.linear_before_reset {
        let product = b.recur(network, 1, hidden)?;
        b.binary(BinaryOp::Mul, &reset, &product)?
    } else {
        let kept = b.binary(BinaryOp::Mul, &reset, hidden)?;
        b.recur(network, 1, &kept)?
    };
    let own = b.gates(input, network, 2, 1)?;
    let sum = b.binary(BinaryOp::Add, &own, &product)?;
    let candidate = b.unary(functions[1], &sum)?;

    let rest = b.rest(&update)?;
    let (new, old) = (b.binary(BinaryOp::Mul, &rest, &candidate)?, b.binary(BinaryOp::Mul, &update, hidden)?);
    Ok(State { hidden: b.binary(BinaryOp::Add, &new, &old)?, cell: None })
}

/// Gates `i`, `o`, `f` and `c`: the cell is `f · cell + i · g(c)`, and the state `o · h(cell)`.
fn lstm_step(b: &mut Builder, network: &Network<'_>, input: &Value, state: &State) -> Result<State, Refusal> {
    let Some(cell) = &state.cell else { return Err(Refusal::invalid("a cell without content")) };
    let functions = network.functions;
    let product = b.recur(network, 0, &state.hidden)?;
    let sum = b.binary(BinaryOp::Add, input, &product)?;

    let gate = b.gates(&sum, network, 0, 1)?;
    let gate = b.peep(&gate, network, 0, cell)?;
    let input_gate = b.unary(functions[0], &gate)?;
    let forget_gate = if network.input_forget {
        b.rest(&input_gate)?
    } else {
        let gate = b.gates(&sum, network, 2, 1)?;
        let gate = b.peep(&gate, network, 2, cell)?;
        b.unary(functions[0], &gate)?
    };
    let content = b.gates(&sum, network, 3, 1)?;
    let content = b.unary(functions[1], &content)?;
    let (kept, new) = (b.binary(BinaryOp::Mul, &forget_gate, cell)?, b.binary(BinaryOp::Mul, &input_gate, &content)?);
    let cell = b.binary(BinaryOp::Add, &kept, &new)?;

    let gate = b.gates(&sum, network, 1, 1)?;
    let gate = b.peep(&gate, network, 1, &cell)?;
    let output_gate = b.unary(functions[0], &gate)?;
    let shown = b.unary(functions[2], &cell)?;
    Ok(State { hidden: b.binary(BinaryOp::Mul, &output_gate, &shown)?, cell: Some(cell) })
}
