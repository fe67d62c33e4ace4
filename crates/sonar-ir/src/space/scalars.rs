//! The numbers and words of a text: scopes and arithmetic.

use crate::text::error::{Fault, nearest};
use crate::text::ops::{Constant, Given};
use crate::text::syntax::{Attribute, Name, Operator, Value, ValueKind};
use std::collections::HashMap;

/// The values of the `$` names at one place. The names of a graph hide those of the file.
#[derive(Default)]
pub(crate) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    own: HashMap<&'a str, Constant>,
}

impl<'a> Scope<'a> {
    /// An empty scope inside another.
    pub(crate) fn within(outer: &'a Scope<'a>) -> Self {
        Scope { outer: Some(outer), own: HashMap::new() }
    }

    /// Defines a name; it hides an earlier definition.
    pub(crate) fn define(&mut self, name: &'a str, value: Constant) {
        self.own.insert(name, value);
    }

    /// Whether a name was defined in this scope itself.
    pub(crate) fn owns(&self, name: &str) -> bool {
        self.own.contains_key(name)
    }

    fn get(&self, name: &str) -> Option<&Constant> {
        self.own.get(name).or_else(|| self.outer?.get(name))
    }

    fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.own.keys().copied().collect();
        names.extend(self.outer.map(Scope::names).unwrap_or_default());
        names
    }

    /// The value of a name, or an error at its place.
    pub(crate) fn resolve(&self, name: &Name) -> Result<&Constant, Fault> {
        self.get(&name.text).ok_or_else(|| {
            let fault = Fault::new(name.span.clone(), format!("`${}` is not defined", name.text));
            match nearest(&name.text, self.names()) {
                Some(near) => fault.help(format!("did you mean `${near}`?")),
                None => fault.help("define it with `let`, or as an argument of the graph"),
            }
        })
    }

    /// The result of a value.
    pub(crate) fn evaluate(&self, value: &Value) -> Result<Constant, Fault> {
        match &value.kind {
            ValueKind::Int(value) => Ok(Constant::Int(*value)),
            ValueKind::Float(value) => Ok(Constant::Float(*value)),
            ValueKind::Word(word) => Ok(Constant::Word(word.clone())),
            ValueKind::Scalar(name) => self.resolve(&Name { text: name.clone(), span: value.span.clone() }).cloned(),
            ValueKind::Negate(inner) => match self.evaluate(inner)? {
                Constant::Int(value) => match value.checked_neg() {
                    Some(value) => Ok(Constant::Int(value)),
                    None => Err(Fault::new(inner.span.clone(), "this number is too large")),
                },
                Constant::Float(value) => Ok(Constant::Float(-value)),
                Constant::Word(word) if word == "inf" => Ok(Constant::Float(f32::NEG_INFINITY)),
                other => Err(Fault::expected(inner.span.clone(), "a number", format_args!("`{other}`"))),
            },
            ValueKind::Arithmetic(first, rest) => {
                let mut result = self.integer(first)?;
                for (operator, value) in rest {
                    let right = self.integer(value)?;
                    result = apply(*operator, result, right).ok_or_else(|| {
                        let message = if right == 0 { "division by zero" } else { "this number is too large" };
                        Fault::new(value.span.clone(), message)
                    })?;
                }
                Ok(Constant::Int(result))
            }
            ValueKind::List(items) => items.iter().map(|item| self.evaluate(item)).collect::<Result<_, _>>().map(Constant::List),
            ValueKind::Term(name, attributes) => {
                let attribute = |a: &Attribute| Ok((a.name.text.clone(), self.evaluate(&a.value)?));
                Ok(Constant::Term(name.clone(), attributes.iter().map(attribute).collect::<Result<_, _>>()?))
            }
        }
    }

    /// The value as a whole number.
    pub(crate) fn integer(&self, value: &Value) -> Result<i64, Fault> {
        match self.evaluate(value)? {
            Constant::Int(value) => Ok(value),
            other => Err(Fault::expected(value.span.clone(), "a whole number", format_args!("`{other}`"))),
        }
    }

    /// Attributes with their values.
    pub(crate) fn attributes(&self, attributes: &[Attribute]) -> Result<Vec<Given>, Fault> {
        let given = |a: &Attribute| {
            let value = self.evaluate(&a.value)?;
            Ok(Given { name: a.name.text.clone(), value, span: a.name.span.start..a.value.span.end })
        };
        attributes.iter().map(given).collect()
    }
}

/// `None` if the result does not exist or does not fit.
fn apply(operator: Operator, left: i64, right: i64) -> Option<i64> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div_euclid(right),
    }
}
