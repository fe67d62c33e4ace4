//! Tokens to syntax tree, by recursive descent: one function for each rule of the grammar in [`super`].

use super::error::{Fault, Span, nearest};
use super::lexer::{Lexeme, TensorName, Token, lex};
use super::ops::{init_from_name, init_names};
use super::syntax::{
    Argument, Attribute, Baseline, Comparand, ConditionDef, Expr, ExprKind, File, GraphDef, Let, LetValue, Name, Operator, Port,
    RuleDef, Statement, TensorDef, Type, Value, ValueKind,
};
use crate::graph::Init;

/// Maximum nesting of expressions, blocks and values.
const MAX_NESTING: usize = 48;
/// The most graphs in a file, `let` names in a file, and choices of a decision.
const MAX_ITEMS: usize = 4096;

/// The syntax tree of a text.
pub(crate) fn parse_file(text: &str) -> Result<File, Fault> {
    let mut parser = Parser { lexemes: lex(text)?, next: 0, nesting: 0, file: File::default() };
    while *parser.peek() != Token::End {
        parser.item()?;
    }
    if parser.file.graphs.is_empty() {
        return Err(Fault::expected(text.len()..text.len(), "a graph", "the end of the text")
            .help("a file holds at least one `graph @name(…) { … }`"));
    }
    Ok(parser.file)
}

/// Parses a text that is one value.
pub(crate) fn parse_value(text: &str) -> Result<Value, Fault> {
    let mut parser = Parser { lexemes: lex(text)?, next: 0, nesting: 0, file: File::default() };
    let value = parser.value()?;
    match parser.peek() {
        Token::End => Ok(value),
        _ => Err(parser.unexpected("the end of the text")),
    }
}

/// `name=value` pairs, separated by blanks or commas; a name may have its `$`.
pub(crate) fn parse_pairs(text: &str) -> Result<Vec<(Name, Value)>, Fault> {
    let mut parser = Parser { lexemes: lex(text)?, next: 0, nesting: 0, file: File::default() };
    let mut pairs = Vec::new();
    while *parser.peek() != Token::End {
        let name = match parser.peek() {
            Token::Scalar(_) => parser.scalar()?,
            _ => parser.word("a decision")?,
        };
        parser.punct("=")?;
        pairs.push((name, parser.literal()?));
        parser.accept(",");
    }
    Ok(pairs)
}

/// Parses a text that is a list of rules.
pub(crate) fn parse_rules(text: &str) -> Result<Vec<RuleDef>, Fault> {
    let mut parser = Parser { lexemes: lex(text)?, next: 0, nesting: 0, file: File::default() };
    let mut rules = Vec::new();
    while *parser.peek() != Token::End {
        if !parser.accept_word("rule") {
            return Err(parser.unexpected("`rule`"));
        }
        rules.push(parser.rule()?);
        parser.check_number(rules.len(), "rules")?;
    }
    Ok(rules)
}

struct Parser {
    lexemes: Vec<Lexeme>,
    next: usize,
    nesting: usize,
    file: File,
}

impl Parser {
    fn item(&mut self) -> Result<(), Fault> {
        let keyword = self.word("`graph`, `let`, `baseline` or `topology`")?;
        match keyword.text.as_str() {
            "let" => self.let_item(),
            "graph" => self.graph(),
            "baseline" => self.baseline(keyword.span),
            "topology" => {
                let name = self.graph_name()?;
                self.file.topology = Some(self.find_graph(&name)?);
                Ok(())
            }
            word => Err(Fault::expected(keyword.span, "`graph`, `let`, `baseline` or `topology`", format_args!("`{word}`"))),
        }
    }

    /// What follows the word `rule`.
    fn rule(&mut self) -> Result<RuleDef, Fault> {
        let name = self.graph_name()?;
        let class = self.word("`exact` or `real`")?;
        self.punct(":")?;
        let start = self.span();
        let left = self.expr(false)?;
        self.punct("=>")?;
        let right = self.expr(false)?;
        let mut conditions = Vec::new();
        if self.accept_word("where") {
            conditions.push(self.condition()?);
            while self.accept(",") {
                conditions.push(self.condition()?);
            }
        }
        Ok(RuleDef { name, class, left, right, conditions, span: self.since(&start) })
    }

    fn condition(&mut self) -> Result<ConditionDef, Fault> {
        let (what, value) = self.property()?;
        let equals = match self.accept("==") {
            false => None,
            true if matches!(self.peek(), Token::Word(_)) => {
                let (what, value) = self.property()?;
                Some(Comparand::Property(what, value))
            }
            true => Some(Comparand::Value(self.value()?)),
        };
        Ok(ConditionDef { what, value, equals })
    }

    /// `rank(%x)`
    fn property(&mut self) -> Result<(Name, TensorDef), Fault> {
        let what = self.word("`const`, `rank` or `shape`")?;
        self.punct("(")?;
        let value = self.tensor()?;
        self.punct(")")?;
        Ok((what, value))
    }

    fn let_item(&mut self) -> Result<(), Fault> {
        let mut names = vec![self.scalar()?];
        while self.accept(",") {
            names.push(self.scalar()?);
        }
        let value = if self.accept("=") {
            LetValue::Is(self.value()?)
        } else if self.accept_word("in") {
            self.punct("{")?;
            let choices = self.list("}", Self::value)?;
            self.check_number(choices.len(), "choices")?;
            LetValue::In(choices)
        } else {
            return Err(self.unexpected("`=` or `in`"));
        };
        for name in names {
            if self.file.lets.iter().any(|l| l.name.text == name.text) {
                return Err(Fault::new(name.span, format!("`${}` is defined twice", name.text)));
            }
            self.file.lets.push(Let { name, value: value.clone() });
            self.check_number(self.file.lets.len(), "names")?;
        }
        Ok(())
    }

    fn baseline(&mut self, start: Span) -> Result<(), Fault> {
        if self.file.baseline.is_some() {
            return Err(Fault::new(start, "a file has at most one baseline"));
        }
        let mut values = Vec::new();
        loop {
            let name = self.scalar()?;
            self.punct("=")?;
            values.push((name, self.value()?));
            if !self.accept(",") {
                break;
            }
        }
        self.file.baseline = Some(Baseline { span: self.since(&start), values });
        Ok(())
    }

    fn graph(&mut self) -> Result<(), Fault> {
        let name = self.graph_name()?;
        if self.file.graphs.iter().any(|g| g.name.text == name.text) {
            return Err(Fault::new(name.span, format!("`@{}` is defined twice", name.text)));
        }
        self.punct("(")?;
        let ports = self.list(")", Self::port)?;
        let body = self.block(true)?;
        if !matches!(body.last(), Some(Statement::Return(_))) {
            let end = self.lexemes[self.next - 1].1.clone();
            return Err(Fault::expected(end, "`return`", "`}`").help("a graph ends with `return` and its results"));
        }
        self.file.graphs.push(GraphDef { name, ports, body });
        self.check_number(self.file.graphs.len(), "graphs")
    }

    fn port(&mut self) -> Result<Port, Fault> {
        match self.peek() {
            Token::Word(word) if word == "param" => {
                self.bump();
                let (def, ty, init) = self.param()?;
                Ok(Port::Param(def, ty, init))
            }
            Token::Scalar(_) => {
                let name = self.scalar()?;
                let default = if self.accept("=") { Some(self.value()?) } else { None };
                Ok(Port::Scalar(name, default))
            }
            Token::Tensor(_) => {
                let def = self.tensor()?;
                let ty = if self.accept(":") { Some(self.ty()?) } else { None };
                Ok(Port::Input(def, ty))
            }
            _ => Err(self.unexpected("`%name: type`, `param %name: type`, `$name` or `)`")),
        }
    }

    fn param(&mut self) -> Result<(TensorDef, Type, Init), Fault> {
        let def = self.tensor()?;
        self.punct(":")?;
        let ty = self.ty()?;
        if !self.accept("=") {
            return Ok((def, ty, Init::He));
        }
        let word = self.word("an initialiser")?;
        let init = init_from_name(&word.text).ok_or_else(|| {
            Fault::expected(word.span, format_args!("one of {}", init_names()), format_args!("`{}`", word.text))
        })?;
        Ok((def, ty, init))
    }

    fn ty(&mut self) -> Result<Type, Fault> {
        let start = self.span();
        let element = self.word("a type")?;
        if element.text != "f32" {
            return Err(Fault::expected(element.span, "`f32`", format_args!("`{}`", element.text))
                .help("a type is `f32` with its extents, as in `f32[N,16]`; all elements are f32"));
        }
        self.punct("[")?;
        let dims = self.list("]", Self::value)?;
        Ok(Type { dims, span: self.since(&start) })
    }

    fn block(&mut self, may_return: bool) -> Result<Vec<Statement>, Fault> {
        self.nested(|parser| {
            parser.punct("{")?;
            let mut statements = Vec::new();
            while !parser.accept("}") {
                if matches!(statements.last(), Some(Statement::Return(_))) {
                    return Err(parser.unexpected("`}`").help("`return` ends a graph"));
                }
                if !may_return && matches!(parser.peek(), Token::Word(word) if word == "return") {
                    return Err(Fault::new(parser.span(), "a `repeat` block has no `return`"));
                }
                statements.push(parser.statement()?);
            }
            Ok(statements)
        })
    }

    fn statement(&mut self) -> Result<Statement, Fault> {
        const EXPECTED: &str = "`%name = …`, `param`, `let`, `repeat` or `return`";
        if matches!(self.peek(), Token::Tensor(_)) {
            let def = self.tensor()?;
            self.punct("=")?;
            let value = self.expr(true)?;
            let ty = if self.accept(":") { Some(self.ty()?) } else { None };
            return Ok(Statement::Define(def, value, ty));
        }
        let keyword = self.word(EXPECTED)?;
        match keyword.text.as_str() {
            "return" => self.results().map(Statement::Return),
            "param" => {
                let (def, ty, init) = self.param()?;
                Ok(Statement::Param(def, ty, init))
            }
            "input" => {
                let def = self.tensor()?;
                self.punct(":")?;
                Ok(Statement::Input(def, self.ty()?))
            }
            "let" => {
                let name = self.scalar()?;
                self.punct("=")?;
                Ok(Statement::Let(name, self.value()?))
            }
            "repeat" => {
                let times = self.value()?;
                let counter = if self.accept_word("as") { Some(self.scalar()?) } else { None };
                let body = self.block(false)?;
                Ok(Statement::Repeat { times, counter, body })
            }
            word => Err(Fault::expected(keyword.span, EXPECTED, format_args!("`{word}`"))),
        }
    }

    fn results(&mut self) -> Result<Vec<Expr>, Fault> {
        let mut results = Vec::new();
        if *self.peek() == Token::Punct("}") {
            return Ok(results);
        }
        results.push(self.expr(false)?);
        while self.accept(",") {
            results.push(self.expr(false)?);
        }
        Ok(results)
    }

    /// An expression. Where it is the whole right side of a definition, an operator's operands may stand without parentheses.
    fn expr(&mut self, bare_operands: bool) -> Result<Expr, Fault> {
        self.nested(|parser| {
            let start = parser.span();
            let kind = match parser.peek().clone() {
                Token::Tensor(name) => {
                    parser.bump();
                    ExprKind::Tensor(name)
                }
                Token::Graph(_) => parser.call()?,
                Token::Word(word) if word == "choose" => parser.choose()?,
                Token::Word(_) => parser.op(bare_operands)?,
                _ => return Err(parser.unexpected("a tensor, an operator, `@graph(…)` or `choose`")),
            };
            Ok(Expr { kind, span: parser.since(&start) })
        })
    }

    fn op(&mut self, bare_operands: bool) -> Result<ExprKind, Fault> {
        let name = self.word("an operator")?;
        let mut operands = Vec::new();
        if self.accept("(") {
            operands = self.list(")", |parser| parser.expr(false))?;
        } else if bare_operands && !matches!(self.peek(), Token::Punct(_)) {
            operands.push(self.expr(false)?);
            while self.accept(",") {
                operands.push(self.expr(false)?);
            }
        }
        let attributes = if self.accept("{") { self.list("}", Self::attribute)? } else { Vec::new() };
        Ok(ExprKind::Op { name, operands, attributes })
    }

    fn attribute(&mut self) -> Result<Attribute, Fault> {
        let name = self.word("an attribute")?;
        let value = if self.accept("=") {
            self.value()?
        } else {
            Value { kind: ValueKind::Word("true".into()), span: name.span.clone() }
        };
        Ok(Attribute { name, value })
    }

    fn call(&mut self) -> Result<ExprKind, Fault> {
        let name = self.graph_name()?;
        let callee = self.find_graph(&name)?;
        self.punct("(")?;
        let arguments = self.list(")", Self::argument)?;
        Ok(ExprKind::Call { callee, arguments })
    }

    fn argument(&mut self) -> Result<Argument, Fault> {
        match (self.peek(), self.peek_second()) {
            (Token::Scalar(_), Token::Punct("=")) => {
                let name = self.scalar()?;
                self.punct("=")?;
                Ok(Argument::Scalar(Some(name), self.value()?))
            }
            (Token::Tensor(_) | Token::Graph(_) | Token::Word(_), _) => Ok(Argument::Tensor(self.expr(false)?)),
            _ => Ok(Argument::Scalar(None, self.value()?)),
        }
    }

    fn choose(&mut self) -> Result<ExprKind, Fault> {
        self.word("`choose`")?;
        let subject = self.scalar()?;
        self.punct("{")?;
        let arms = self.list("}", |parser| {
            let value = parser.value()?;
            parser.punct("=>")?;
            Ok((value, parser.expr(false)?))
        })?;
        Ok(ExprKind::Choose { subject, arms })
    }

    /// A sum of products.
    fn value(&mut self) -> Result<Value, Fault> {
        const SUM: &[(&str, Operator)] = &[("+", Operator::Add), ("-", Operator::Subtract)];
        const PRODUCT: &[(&str, Operator)] = &[("*", Operator::Multiply), ("/", Operator::Divide)];
        self.nested(|parser| parser.chain(SUM, |parser| parser.chain(PRODUCT, Self::factor)))
    }

    fn chain(
        &mut self,
        operators: &[(&'static str, Operator)],
        operand: impl Fn(&mut Self) -> Result<Value, Fault>,
    ) -> Result<Value, Fault> {
        let start = self.span();
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some(&(_, operator)) = operators.iter().find(|(punct, _)| self.accept(punct)) {
            rest.push((operator, operand(self)?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        Ok(Value { kind: ValueKind::Arithmetic(Box::new(first), rest), span: self.since(&start) })
    }

    fn factor(&mut self) -> Result<Value, Fault> {
        let start = self.span();
        let kind = match self.peek().clone() {
            Token::Punct("(") => {
                self.bump();
                let inner = self.value()?;
                self.punct(")")?;
                inner.kind
            }
            Token::Punct("-") => {
                self.bump();
                ValueKind::Negate(Box::new(self.nested(Self::factor)?))
            }
            Token::Punct("[") => {
                self.bump();
                ValueKind::List(self.list("]", Self::value)?)
            }
            _ => return self.literal(),
        };
        Ok(Value { kind, span: self.since(&start) })
    }

    /// A value without operators.
    fn literal(&mut self) -> Result<Value, Fault> {
        let start = self.span();
        let kind = match self.peek().clone() {
            Token::Int(value) => ValueKind::Int(value),
            Token::Float(value) => ValueKind::Float(value),
            Token::Scalar(name) => ValueKind::Scalar(name),
            Token::Word(word) => ValueKind::Word(word),
            _ => return Err(self.unexpected("a number, a word or `$name`")),
        };
        self.bump();
        let kind = match kind {
            ValueKind::Word(word) if self.accept("(") => {
                let attributes = self.nested(|parser| parser.list(")", Self::attribute))?;
                ValueKind::Term(word, attributes)
            }
            kind => kind,
        };
        Ok(Value { kind, span: self.since(&start) })
    }

    /// Items separated by commas, up to `close`; a comma may follow the last one.
    fn list<T>(&mut self, close: &'static str, mut item: impl FnMut(&mut Self) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let mut items = Vec::new();
        while !self.accept(close) {
            items.push(item(self)?);
            if !self.accept(",") && *self.peek() != Token::Punct(close) {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
        Ok(items)
    }

    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.nesting == MAX_NESTING {
            return Err(Fault::new(self.span(), format!("nested more than {MAX_NESTING} deep")));
        }
        self.nesting += 1;
        let result = rule(self);
        self.nesting -= 1;
        result
    }

    /// Refuses too many things called `what`; `number` were found so far.
    fn check_number(&self, number: usize, what: &str) -> Result<(), Fault> {
        if number <= MAX_ITEMS {
            return Ok(());
        }
        Err(Fault::new(self.span(), format!("more than {MAX_ITEMS} {what}")))
    }

    fn find_graph(&self, name: &Name) -> Result<usize, Fault> {
        let graphs = &self.file.graphs;
        graphs.iter().position(|g| g.name.text == name.text).ok_or_else(|| {
            let fault = Fault::new(name.span.clone(), format!("no graph `@{}` is defined above", name.text));
            match nearest(&name.text, graphs.iter().map(|g| g.name.text.as_str())) {
                Some(near) => fault.help(format!("did you mean `@{near}`?")),
                None => fault.help("a graph may call the graphs that are defined before it"),
            }
        })
    }

    fn graph_name(&mut self) -> Result<Name, Fault> {
        match self.peek().clone() {
            Token::Graph(text) => Ok(Name { text, span: self.bump() }),
            _ => Err(self.unexpected("`@` and the name of a graph")),
        }
    }

    fn scalar(&mut self) -> Result<Name, Fault> {
        match self.peek().clone() {
            Token::Scalar(text) => Ok(Name { text, span: self.bump() }),
            _ => Err(self.unexpected("`$` and a name")),
        }
    }

    fn tensor(&mut self) -> Result<TensorDef, Fault> {
        match self.peek().clone() {
            Token::Tensor(name) => Ok(TensorDef { name, span: self.bump() }),
            _ => Err(self.unexpected("`%` and a name")),
        }
    }

    fn word(&mut self, expected: &str) -> Result<Name, Fault> {
        match self.peek().clone() {
            Token::Word(text) => Ok(Name { text, span: self.bump() }),
            _ => Err(self.unexpected(expected)),
        }
    }

    fn punct(&mut self, punct: &'static str) -> Result<(), Fault> {
        if self.accept(punct) { Ok(()) } else { Err(self.unexpected(&format!("`{punct}`"))) }
    }

    fn accept(&mut self, punct: &'static str) -> bool {
        let found = *self.peek() == Token::Punct(punct);
        if found {
            self.bump();
        }
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w == word);
        if found {
            self.bump();
        }
        found
    }

    fn unexpected(&self, expected: &str) -> Fault {
        Fault::expected(self.span(), expected, self.peek())
    }

    fn peek(&self) -> &Token {
        &self.lexemes[self.next].0
    }

    fn peek_second(&self) -> &Token {
        &self.lexemes[(self.next + 1).min(self.lexemes.len() - 1)].0
    }

    fn span(&self) -> Span {
        self.lexemes[self.next].1.clone()
    }

    /// From the beginning of `start` to the end of the token before the next one.
    fn since(&self, start: &Span) -> Span {
        let end = self.next.checked_sub(1).map_or(start.end, |last| self.lexemes[last].1.end);
        start.start..end.max(start.start)
    }

    /// Moves past a token, but never past the end; gives its span.
    fn bump(&mut self) -> Span {
        let span = self.span();
        self.next = (self.next + 1).min(self.lexemes.len() - 1);
        span
    }
}

impl TensorDef {
    /// The name a tensor keeps outside the text: none if it is anonymous.
    pub(crate) fn hint(&self) -> Option<&str> {
        let TensorName { text, anonymous } = &self.name;
        (!anonymous).then_some(text)
    }
}
