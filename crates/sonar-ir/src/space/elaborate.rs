//! Syntax tree to graph, once every decision has a value: calls, choices and repetitions are expanded.

use super::scalars::Scope;
use crate::entity::Entity;
use crate::graph::{Dim, Graph, Init, NodeId, Op, TensorType};
use crate::scalar::BinaryOp;
use crate::text::error::{Fault, Span, nearest};
use crate::text::lexer::TensorName;
use crate::text::ops::{Constant, Given, check_elements, read, read_shape};
use crate::text::syntax::{Argument, Expr, ExprKind, File, GraphDef, Name, Port, Statement, TensorDef, Type, Value, ValueKind};
use std::collections::{HashMap, HashSet};

/// The most nodes of a graph.
const MAX_NODES: usize = 1 << 18;
/// The most statements and expressions visited while a graph is built. It bounds the time.
const MAX_STEPS: usize = 1 << 20;
/// Maximum depth of calls, choices, repetitions and nested expressions together. It bounds the stack.
const MAX_DEPTH: usize = 160;

/// Builds the last graph of the file. `globals` has the values of the file's `$` names.
pub(crate) fn elaborate<'a>(text: &'a str, file: &'a File, globals: &'a Scope<'a>) -> Result<Graph, Fault> {
    let Some(def) = file.graphs.last() else { return Err(Fault::new(0..0, "the file holds no graph")) };
    let mut elaborator = Elaborator {
        text,
        file,
        globals,
        graph: Graph::new(def.name.text.clone()),
        taken: HashMap::new(),
        path: String::new(),
        steps: 0,
        depth: 0,
    };
    let mut frame = elaborator.entry(def)?;
    elaborator.graph.outputs = elaborator.body(&def.body, &mut frame)?;
    Ok(elaborator.graph)
}

struct Elaborator<'a> {
    text: &'a str,
    file: &'a File,
    globals: &'a Scope<'a>,
    graph: Graph,
    /// Names in use, and how often each was asked for.
    taken: HashMap<String, usize>,
    /// Prefix of parameter names: the names of the enclosing calls, each with a dot after it, or empty.
    path: String,
    steps: usize,
    depth: usize,
}

/// The names of one graph while its body is expanded.
struct Frame<'a> {
    tensors: HashMap<&'a TensorName, NodeId>,
    scalars: Scope<'a>,
    /// In a repetition: the tensors from outside, which its body may define again.
    carried: HashSet<&'a TensorName>,
    /// Whether this is the file's last graph and not a called one.
    entry: bool,
}

impl<'a> Frame<'a> {
    fn new(globals: &'a Scope<'a>, entry: bool) -> Self {
        Frame { tensors: HashMap::new(), scalars: Scope::within(globals), carried: HashSet::new(), entry }
    }
}

impl<'a> Elaborator<'a> {
    /// Declares the inputs and parameters of the file's last graph.
    fn entry(&mut self, def: &'a GraphDef) -> Result<Frame<'a>, Fault> {
        let mut frame = Frame::new(self.globals, true);
        for port in &def.ports {
            if let Port::Scalar(name, default) = port {
                let Some(default) = default else {
                    return Err(Fault::new(name.span.clone(), format!("`${}` has no value", name.text))
                        .help("the last graph of a file is called by nobody: give a default, or use `let` before the graph"));
                };
                frame.scalars.define(&name.text, frame.scalars.evaluate(default)?);
            }
        }
        for port in &def.ports {
            match port {
                Port::Input(def, Some(ty)) => self.input(def, ty, &mut frame)?,
                Port::Input(def, None) => {
                    return Err(Fault::new(def.span.clone(), format!("`{}` needs a type", def.name))
                        .help("the inputs of the last graph of a file have types, as in `%x: f32[N,16]`"));
                }
                Port::Param(def, ty, init) => self.param(def, ty, *init, &mut frame)?,
                Port::Scalar(..) => {}
            }
        }
        Ok(frame)
    }

    /// Expands a call, made at `span`.
    fn call(&mut self, callee: usize, arguments: &'a [Argument], span: &Span, frame: &mut Frame<'a>) -> Result<NodeId, Fault> {
        let def = &self.file.graphs[callee];
        let mut inner = Frame::new(self.globals, false);
        let tensors = self.arguments(def, arguments, frame, &mut inner)?;
        let mut tensors = tensors.into_iter();
        let missing = |what: String| Fault::new(span.clone(), format!("`@{}` needs a value for `{what}`", def.name.text));
        for port in &def.ports {
            if let Port::Input(input, ty) = port {
                let (id, at) = tensors.next().ok_or_else(|| missing(input.name.to_string()))?;
                if let Some(ty) = ty {
                    self.match_type(input, ty, id, at, &mut inner)?;
                }
                define(input, id, &mut inner)?;
            }
        }
        if let Some((_, at)) = tensors.next() {
            return Err(too_many(def, at));
        }
        for port in &def.ports {
            if let Port::Scalar(name, default) = port
                && !inner.scalars.owns(&name.text)
            {
                let default = default.as_ref().ok_or_else(|| missing(format!("${}", name.text)))?;
                inner.scalars.define(&name.text, inner.scalars.evaluate(default)?);
            }
        }
        let results = self.callee_body(def, &mut inner).map_err(|fault| fault.called_from(span.clone()))?;
        match results[..] {
            [result] => Ok(result),
            _ => {
                let message = format!("`@{}` returns {} values where one is needed", def.name.text, results.len());
                Err(Fault::new(span.clone(), message))
            }
        }
    }

    fn callee_body(&mut self, def: &'a GraphDef, inner: &mut Frame<'a>) -> Result<Vec<NodeId>, Fault> {
        for port in &def.ports {
            if let Port::Param(def, ty, init) = port {
                self.param(def, ty, *init, inner)?;
            }
        }
        self.body(&def.body, inner)
    }

    /// Evaluates the arguments of a call: scalars are defined in the callee's frame, tensors returned in order.
    fn arguments(
        &mut self,
        def: &'a GraphDef,
        arguments: &'a [Argument],
        frame: &mut Frame<'a>,
        inner: &mut Frame<'a>,
    ) -> Result<Vec<(NodeId, &'a Span)>, Fault> {
        let mut next_scalar = scalar_ports(def);
        let mut tensors = Vec::new();
        for argument in arguments {
            let (name, value) = match argument {
                Argument::Tensor(value) => {
                    tensors.push((self.expr(value, frame)?, &value.span));
                    continue;
                }
                Argument::Scalar(None, value) => (next_scalar.next().ok_or_else(|| too_many(def, &value.span))?, value),
                Argument::Scalar(Some(name), value) => {
                    let port = scalar_ports(def).find(|port| port.text == name.text);
                    (port.ok_or_else(|| too_many(def, &name.span))?, value)
                }
            };
            inner.scalars.define(&name.text, frame.scalars.evaluate(value)?);
        }
        Ok(tensors)
    }

    /// Compares an argument with the type of its input. A bare `$name` without a value from the call takes the extent found in its
    /// place.
    fn match_type(&mut self, input: &TensorDef, ty: &'a Type, id: NodeId, at: &Span, inner: &mut Frame<'a>) -> Result<(), Fault> {
        let found = self.graph.ty(id);
        let mismatch = || {
            let expected = format!("{} of type {}", input.name, &self.text[ty.span.clone()]);
            let mut fault = Fault::expected(at.clone(), expected, found);
            fault.labels.push((ty.span.clone(), "declared here".into()));
            fault
        };
        if ty.dims.len() != found.rank() {
            return Err(mismatch());
        }
        for (pattern, dim) in ty.dims.iter().zip(&found.shape) {
            let extent = dim.fixed().map(|n| Constant::Int(i64::try_from(n).unwrap_or(i64::MAX)));
            if let (ValueKind::Scalar(name), Some(extent)) = (&pattern.kind, &extent)
                && !inner.scalars.owns(name)
            {
                inner.scalars.define(name, extent.clone());
                continue;
            }
            let expected = inner.scalars.evaluate(pattern)?;
            if expected != extent.unwrap_or(Constant::Word("N".into())) {
                return Err(mismatch());
            }
        }
        Ok(())
    }

    fn body(&mut self, statements: &'a [Statement], frame: &mut Frame<'a>) -> Result<Vec<NodeId>, Fault> {
        for statement in statements {
            match statement {
                Statement::Define(def, value, ty) => self.define(def, value, ty.as_ref(), frame)?,
                Statement::Param(def, ty, init) => self.param(def, ty, *init, frame)?,
                Statement::Input(def, ty) => {
                    if !frame.entry {
                        return Err(Fault::new(def.span.clone(), "only the last graph of a file has `input` lines"));
                    }
                    self.input(def, ty, frame)?;
                }
                Statement::Let(name, value) => frame.scalars.define(&name.text, frame.scalars.evaluate(value)?),
                Statement::Repeat { times, counter, body } => self.repeat(times, counter.as_ref(), body, frame)?,
                Statement::Return(values) => return values.iter().map(|value| self.expr(value, frame)).collect(),
            }
        }
        Ok(Vec::new())
    }

    fn define(&mut self, def: &'a TensorDef, value: &'a Expr, ty: Option<&Type>, frame: &mut Frame<'a>) -> Result<(), Fault> {
        let first_new = self.graph.nodes.len();
        let outside = self.path.len();
        if let Some(name) = def.hint()
            && !frame.carried.contains(&def.name)
        {
            self.path.push_str(name);
            self.path.push('.');
        }
        let result = self.expr(value, frame);
        self.path.truncate(outside);
        let id = result?;
        if let Some(ty) = ty {
            let expected = self.graph.ty(id);
            let found = declared(ty, &frame.scalars)?;
            if *expected != found {
                return Err(Fault::expected(ty.span.clone(), expected, found));
            }
        }
        define(def, id, frame)?;
        let is_new = id.index() >= first_new;
        if let Some(name) = def.hint()
            && is_new
            && frame.entry
            && self.path.is_empty()
            && self.graph.node(id).name.is_none()
            && !self.taken.contains_key(name)
        {
            self.taken.insert(name.to_string(), 1);
            self.graph.nodes[id].name = Some(name.to_string());
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        times: &'a Value,
        counter: Option<&'a Name>,
        body: &'a [Statement],
        frame: &mut Frame<'a>,
    ) -> Result<(), Fault> {
        let count = frame.scalars.integer(times)?;
        if count < 0 {
            return Err(Fault::expected(times.span.clone(), "a number that is not negative", format_args!("`{count}`")));
        }
        self.enter(&times.span)?;
        let outside = self.path.len();
        let carried: HashSet<&TensorName> = frame.tensors.keys().copied().collect();
        let before = std::mem::replace(&mut frame.carried, carried);
        for index in 0..count {
            self.step(&times.span)?;
            if let Some(counter) = counter {
                frame.scalars.define(&counter.text, Constant::Int(index));
                self.path.push_str(&counter.text);
            }
            self.path.push_str(&format!("{index}."));
            self.body(body, frame)?;
            self.path.truncate(outside);
            let carried = &frame.carried;
            frame.tensors.retain(|name, _| carried.contains(name));
        }
        frame.carried = before;
        self.depth -= 1;
        Ok(())
    }

    fn expr(&mut self, expr: &'a Expr, frame: &mut Frame<'a>) -> Result<NodeId, Fault> {
        self.step(&expr.span)?;
        self.enter(&expr.span)?;
        let id = match &expr.kind {
            ExprKind::Tensor(name) => match frame.tensors.get(name) {
                Some(&id) => id,
                None => return Err(undefined(name, &expr.span, frame)),
            },
            ExprKind::Op { name, operands, attributes } => {
                let ids = operands.iter().map(|operand| self.expr(operand, frame)).collect::<Result<Vec<_>, _>>()?;
                let attributes = frame.scalars.attributes(attributes)?;
                let operand_spans: Vec<&Span> = operands.iter().map(|o| &o.span).collect();
                self.op(name, &ids, &operand_spans, attributes)?
            }
            ExprKind::Call { callee, arguments } => self.call(*callee, arguments, &expr.span, frame)?,
            ExprKind::Choose { subject, arms } => {
                let arm = chosen(subject, arms, &frame.scalars)?;
                self.expr(arm, frame)?
            }
        };
        self.depth -= 1;
        Ok(id)
    }

    fn op(&mut self, name: &Name, operands: &[NodeId], spans: &[&Span], attributes: Vec<Given>) -> Result<NodeId, Fault> {
        if name.text == "zeros_like" {
            let [x] = operands else { return Err(Fault::expected(name.span.clone(), "one operand", operands.len())) };
            let shape = self.graph.ty(*x).shape.clone();
            return self.push(Op::Splat(0.0, shape), &[], name, &[]);
        }
        let types: Vec<&TensorType> = operands.iter().map(|&id| self.graph.ty(id)).collect();
        let op = read(&name.text, &name.span, attributes, &types)?;
        let folds = matches!(op, Op::Binary(BinaryOp::Add | BinaryOp::Mul | BinaryOp::Max | BinaryOp::Min));
        match operands {
            [first, second, rest @ ..] if folds => {
                let mut result = self.push(op.clone(), &[*first, *second], name, &spans[..2])?;
                for (i, &operand) in rest.iter().enumerate() {
                    result = self.push(op.clone(), &[result, operand], name, &[spans[i + 2]])?;
                }
                Ok(result)
            }
            _ => self.push(op, operands, name, spans),
        }
    }

    fn push(&mut self, op: Op, operands: &[NodeId], name: &Name, spans: &[&Span]) -> Result<NodeId, Fault> {
        self.check_size(&name.span)?;
        let id = self.graph.push(op, operands).map_err(|error| {
            let mut fault = Fault::new(name.span.clone(), format!("{}: {error}", name.text));
            let own = operands.len() - spans.len();
            for (span, &id) in spans.iter().zip(&operands[own..]) {
                fault.labels.push(((*span).clone(), format!("this is {}", self.graph.ty(id))));
            }
            fault
        })?;
        check_elements(&self.graph.ty(id).shape, &name.span)?;
        Ok(id)
    }

    fn input(&mut self, def: &'a TensorDef, ty: &Type, frame: &mut Frame<'a>) -> Result<(), Fault> {
        self.check_size(&def.span)?;
        let ty = declared(ty, &frame.scalars)?;
        let name = self.fresh_name(&def.name.text);
        let id = self.graph.input(name, ty);
        define(def, id, frame)
    }

    fn param(&mut self, def: &'a TensorDef, ty: &Type, init: Init, frame: &mut Frame<'a>) -> Result<(), Fault> {
        self.check_size(&def.span)?;
        let found = declared(ty, &frame.scalars)?;
        let Some(extents) = found.extents() else {
            return Err(Fault::expected(ty.span.clone(), "a parameter with fixed extents", found));
        };
        let name = self.fresh_name(&def.name.text);
        let id = self.graph.param(name, &extents, init);
        define(def, id, frame)
    }

    /// The path and the name, with a number after it if that is taken.
    fn fresh_name(&mut self, name: &str) -> String {
        let full = format!("{}{name}", self.path);
        let mut candidate = full.clone();
        while self.taken.contains_key(&candidate) {
            let count = self.taken.entry(full.clone()).or_insert(1);
            *count += 1;
            candidate = format!("{full}.{count}");
        }
        self.taken.insert(candidate.clone(), 1);
        candidate
    }

    fn check_size(&self, span: &Span) -> Result<(), Fault> {
        if self.graph.nodes.len() < MAX_NODES {
            return Ok(());
        }
        Err(Fault::new(span.clone(), format!("the graph has more than {MAX_NODES} nodes")))
    }

    fn step(&mut self, span: &Span) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps <= MAX_STEPS {
            return Ok(());
        }
        Err(Fault::new(span.clone(), "calls and repetitions multiply to too large a graph"))
    }

    /// Goes one level down; the caller lowers `depth` when it returns.
    fn enter(&mut self, span: &Span) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(Fault::new(span.clone(), format!("calls and expressions are nested more than {MAX_DEPTH} deep")))
    }
}

/// The arm of `choose` for the value of the subject.
pub(crate) fn chosen<'a>(subject: &Name, arms: &'a [(Value, Expr)], scope: &Scope<'_>) -> Result<&'a Expr, Fault> {
    let wanted = scope.resolve(subject)?;
    let mut others = Vec::new();
    for (value, arm) in arms {
        let value = scope.evaluate(value)?;
        if value == *wanted {
            return Ok(arm);
        }
        others.push(format!("`{value}`"));
    }
    let fault = Fault::new(subject.span.clone(), format!("`choose` has no arm for `{wanted}`"));
    Err(fault.help(format!("its arms are {}", others.join(", "))))
}

fn define<'a>(def: &'a TensorDef, id: NodeId, frame: &mut Frame<'a>) -> Result<(), Fault> {
    let known = frame.tensors.insert(&def.name, id).is_some();
    if known && !frame.carried.contains(&def.name) {
        return Err(Fault::new(def.span.clone(), format!("`{}` is defined twice", def.name))
            .help("only a `repeat` block may define a tensor from outside of it again"));
    }
    Ok(())
}

fn undefined(name: &TensorName, span: &Span, frame: &Frame<'_>) -> Fault {
    let fault = Fault::new(span.clone(), format!("`{name}` is not defined"));
    match nearest(&name.text, frame.tensors.keys().map(|n| n.text.as_str())) {
        Some(near) => fault.help(format!("did you mean `%{near}`?")),
        None => fault.help("a tensor is defined before it is used"),
    }
}

/// The type that is written.
fn declared(ty: &Type, scope: &Scope<'_>) -> Result<TensorType, Fault> {
    let dims = ty.dims.iter().map(|dim| scope.evaluate(dim)).collect::<Result<Vec<_>, _>>()?;
    let shape = read_shape(&dims, &ty.span)?;
    if shape.iter().skip(1).any(|d| *d == Dim::Batch) {
        return Err(Fault::new(ty.span.clone(), "the batch `N` may only be the leading axis"));
    }
    Ok(TensorType { shape })
}

/// The `$` names of a signature, in order.
fn scalar_ports(def: &GraphDef) -> impl Iterator<Item = &Name> {
    def.ports.iter().filter_map(|port| match port {
        Port::Scalar(name, _) => Some(name),
        _ => None,
    })
}

fn too_many(def: &GraphDef, span: &Span) -> Fault {
    Fault::new(span.clone(), format!("`@{}` takes no such argument", def.name.text))
        .help("tensors are for the inputs and numbers for the `$` names of the signature, in order")
}
