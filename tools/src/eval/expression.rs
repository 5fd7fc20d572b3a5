//! Small formulas over maps and numbers, so that ways of joining the witnesses can be compared in
//! one pass without building anything: `max(change, 0.5 * nearest)`.
//!
//! Operators `+ - * / ^`, functions `min max sqrt exp log sigmoid clamp blur peak mean`, numbers,
//! and the names that the detector gives. `blur(x, s)` is a Gaussian of `s` 256ths of the picture;
//! `peak` and `mean` make a number of a map; `clamp` cuts to 0..1. Maps of different size meet on
//! the larger grid.

use std::fmt;

use touchstone_models::map::Map;

use super::filter::gaussian;
use super::observation::{Observation, UnknownName};

/// Parentheses and functions may be nested this deep.
const DEPTH_MAX: usize = 64;

/// Sigmas of `blur` are given for this many cells a side.
const BLUR_CELLS: f32 = 256.0;

/// A parsed formula.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f32),
    Name(String),
    Operator(char, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Min,
    Max,
    Sqrt,
    Exp,
    Log,
    Sigmoid,
    Clamp,
    Blur,
    Peak,
    Mean,
}

impl Function {
    const ALL: [(&'static str, Self, std::ops::RangeInclusive<usize>); 10] = [
        ("min", Self::Min, 2..=8),
        ("max", Self::Max, 2..=8),
        ("sqrt", Self::Sqrt, 1..=1),
        ("exp", Self::Exp, 1..=1),
        ("log", Self::Log, 1..=1),
        ("sigmoid", Self::Sigmoid, 1..=1),
        ("clamp", Self::Clamp, 1..=1),
        ("blur", Self::Blur, 2..=2),
        ("peak", Self::Peak, 1..=1),
        ("mean", Self::Mean, 1..=1),
    ];
}

/// Why a formula cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct ParseError {
    /// The formula.
    pub text: String,
    /// Byte where reading stopped.
    pub at: usize,
    /// What was expected there.
    pub expected: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "formula `{}`: expected {} at character {}",
            self.text,
            self.expected,
            self.at + 1
        )
    }
}

impl std::error::Error for ParseError {}

/// Result of a formula: a map, or one number.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number, the same everywhere.
    Number(f32),
    /// A value per cell.
    Map(Map),
}

impl Expression {
    /// Reads a formula.
    ///
    /// # Errors
    /// Where reading stopped, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let node = parser.sum()?;
        match parser.peek() {
            None => Ok(Self(node)),
            Some(_) => Err(parser.expected("an operator or the end")),
        }
    }

    /// The map or number called `name`.
    pub fn name(name: &str) -> Self {
        Self(Node::Name(name.into()))
    }

    /// Evaluates the formula; `own` is a map that goes by the name `map`.
    ///
    /// # Errors
    /// A name that is neither in the observation nor `map`.
    pub fn evaluate(&self, of: &Observation, own: Option<&Map>) -> Result<Value, UnknownName> {
        evaluate(&self.0, of, own)
    }
}

fn evaluate(node: &Node, of: &Observation, own: Option<&Map>) -> Result<Value, UnknownName> {
    match node {
        Node::Number(value) => Ok(Value::Number(*value)),
        Node::Name(name) => {
            if let ("map", Some(map)) = (name.as_str(), own) {
                return Ok(Value::Map(map.clone()));
            }
            if let Some(map) = of.find_map(name) {
                return Ok(Value::Map(map.clone()));
            }
            of.find_number(name).map(Value::Number).ok_or_else(|| UnknownName {
                name: name.clone(),
                known: of.names().into_iter().map(str::to_owned).collect(),
            })
        }
        Node::Operator(operator, a, b) => {
            let (a, b) = (evaluate(a, of, own)?, evaluate(b, of, own)?);
            Ok(match operator {
                '+' => zip(a, b, |a, b| a + b),
                '-' => zip(a, b, |a, b| a - b),
                '*' => zip(a, b, |a, b| a * b),
                '/' => zip(a, b, |a, b| a / b),
                _ => zip(a, b, f32::powf),
            })
        }
        Node::Call(function, arguments) => {
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                values.push(evaluate(argument, of, own)?);
            }
            Ok(call(*function, values))
        }
    }
}

fn call(function: Function, values: Vec<Value>) -> Value {
    let mut values = values.into_iter();
    let first = values.next().unwrap_or(Value::Number(0.0));
    match function {
        Function::Min => values.fold(first, |a, b| zip(a, b, lesser)),
        Function::Max => values.fold(first, |a, b| zip(a, b, greater)),
        Function::Sqrt => each(first, f32::sqrt),
        Function::Exp => each(first, f32::exp),
        Function::Log => each(first, f32::ln),
        Function::Sigmoid => each(first, |v| 1.0 / (1.0 + (-v).exp())),
        Function::Clamp => each(first, |v| v.clamp(0.0, 1.0)),
        Function::Blur => match (first, values.next()) {
            (Value::Map(map), Some(Value::Number(sigma))) => {
                Value::Map(gaussian(&map, sigma * map.width as f32 / BLUR_CELLS))
            }
            (value, _) => value,
        },
        Function::Peak => {
            reduce(first, |values| values.iter().copied().fold(f32::NEG_INFINITY, greater))
        }
        Function::Mean => reduce(first, |values| {
            (values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64) as f32
        }),
    }
}

/// `f32::max` drops a NaN; here it must come out, to be refused.
fn greater(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

fn lesser(a: f32, b: f32) -> f32 {
    if a.is_nan() || a < b { a } else { b }
}

fn reduce(value: Value, by: impl Fn(&[f32]) -> f32) -> Value {
    match value {
        Value::Map(map) => Value::Number(by(&map.values)),
        number => number,
    }
}

fn each(value: Value, f: impl Fn(f32) -> f32) -> Value {
    match value {
        Value::Number(v) => Value::Number(f(v)),
        Value::Map(mut map) => {
            map.values.iter_mut().for_each(|v| *v = f(*v));
            Value::Map(map)
        }
    }
}

fn zip(a: Value, b: Value, f: impl Fn(f32, f32) -> f32) -> Value {
    match (a, b) {
        (Value::Number(a), b) => each(b, |b| f(a, b)),
        (a, Value::Number(b)) => each(a, |a| f(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            let (width, height) = (a.width.max(b.width), a.height.max(b.height));
            let mut a = a.resize(width, height);
            let b = b.resize(width, height);
            for (a, &b) in a.values.iter_mut().zip(&b.values) {
                *a = f(*a, b);
            }
            Value::Map(a)
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn expected(&self, what: &str) -> ParseError {
        ParseError { text: self.text.into(), at: self.at, expected: what.into() }
    }

    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: &[char]) -> Option<char> {
        let found = self.peek().filter(|c| wanted.contains(c))?;
        self.at += found.len_utf8();
        Some(found)
    }

    fn sum(&mut self) -> Result<Node, ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.expected("fewer nested parentheses"));
        }
        let mut left = self.product()?;
        while let Some(operator) = self.take(&['+', '-']) {
            left = Node::Operator(operator, Box::new(left), Box::new(self.product()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn product(&mut self) -> Result<Node, ParseError> {
        let mut left = self.power()?;
        while let Some(operator) = self.take(&['*', '/']) {
            left = Node::Operator(operator, Box::new(left), Box::new(self.power()?));
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<Node, ParseError> {
        let base = self.primary()?;
        match self.take(&['^']) {
            Some(_) => {
                let exponent = self.primary()?;
                Ok(Node::Operator('^', Box::new(base), Box::new(exponent)))
            }
            None => Ok(base),
        }
    }

    fn primary(&mut self) -> Result<Node, ParseError> {
        match self.peek() {
            Some('(') => {
                self.take(&['(']);
                let inner = self.sum()?;
                match self.take(&[')']) {
                    Some(_) => Ok(inner),
                    None => Err(self.expected("`)`")),
                }
            }
            Some('-') => {
                self.take(&['-']);
                match self.peek() {
                    Some(c) if c.is_ascii_digit() || c == '.' => self.number(-1.0),
                    _ => Err(self.expected("a number after `-`")),
                }
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(1.0),
            Some(c) if c.is_ascii_alphabetic() => self.name_or_call(),
            _ => Err(self.expected("a number, a name or `(`")),
        }
    }

    fn span(&mut self, fits: impl Fn(char) -> bool) -> &str {
        let rest = &self.text[self.at..];
        let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn number(&mut self, sign: f32) -> Result<Node, ParseError> {
        let start = self.at;
        let text = self.span(|c| c.is_ascii_digit() || c == '.');
        match text.parse::<f32>() {
            Ok(value) => Ok(Node::Number(sign * value)),
            Err(_) => {
                self.at = start;
                Err(self.expected("a number"))
            }
        }
    }

    fn name_or_call(&mut self) -> Result<Node, ParseError> {
        let start = self.at;
        let name = self.span(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.').to_owned();
        if self.take(&['(']).is_none() {
            return Ok(Node::Name(name));
        }
        let Some((_, function, arity)) = Function::ALL.into_iter().find(|f| f.0 == name) else {
            self.at = start;
            let known: Vec<&str> = Function::ALL.iter().map(|f| f.0).collect();
            return Err(self.expected(&format!("one of the functions {}", known.join(", "))));
        };
        let mut arguments = vec![self.sum()?];
        while self.take(&[',']).is_some() {
            arguments.push(self.sum()?);
        }
        if self.take(&[')']).is_none() {
            return Err(self.expected("`,` or `)`"));
        }
        if !arity.contains(&arguments.len()) {
            return Err(self.expected(&format!("{} arguments of {name}", arity.start())));
        }
        Ok(Node::Call(function, arguments))
    }
}

#[cfg(test)]
mod tests;
