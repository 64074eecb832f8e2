//! From words to a tree, by the precedence of operators.

use super::syntax::{Operator, Span, Syntax, SyntaxKind, Word};
use super::token::{Placed, Token, error, tokens};
use super::value::Literal;
use super::{ExpressionError, NESTING_MAX, is_reserved_word};

type Parsed = Result<Syntax, ExpressionError>;

/// What a whole text says.
pub(super) fn parse(text: &str) -> Parsed {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        nesting: 0,
    };
    let syntax = parser.expression()?;
    if parser.peek() == &Token::End {
        return Ok(syntax);
    }
    let help = match parser.peek() {
        Token::Word(word) if word == "and" => Some("write `&&` for \"and\""),
        Token::Word(word) if word == "or" => Some("write `||` for \"or\""),
        Token::Word(word) if word == "not" => Some("write `!(a in b)` for \"not in\""),
        _ => None,
    };
    Err(parser.unexpected("an operator or the end", help))
}

struct Parser {
    /// The last is [`Token::End`], which is never passed.
    tokens: Vec<Placed>,
    next: usize,
    nesting: u16,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn span(&self) -> Span {
        self.tokens[self.next].span
    }

    fn take(&mut self) -> Placed {
        let placed = self.tokens[self.next].clone();
        if placed.token != Token::End {
            self.next += 1;
        }
        placed
    }

    /// Whether this sign was next, and is passed.
    fn passes(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Sign(next) if *next == sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &'static str) -> Result<Span, ExpressionError> {
        let span = self.span();
        if self.passes(sign) {
            return Ok(span);
        }
        Err(self.unexpected(&format!("`{sign}`"), None))
    }

    fn unexpected(&self, wanted: &str, help: Option<&str>) -> ExpressionError {
        let found = match self.peek() {
            Token::End => "the end".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Word(word) | Token::QuotedWord(word) => format!("`{word}`"),
            Token::Whole(_) | Token::Double(_) => "a number".to_owned(),
            Token::String(_) => "a text".to_owned(),
        };
        let message = format!("expected {wanted}, found {found}");
        error(self.span(), message, help.map(str::to_owned))
    }

    /// A part, unless its own parts lie too deep.
    fn part(&self, span: Span, kind: SyntaxKind) -> Parsed {
        let depth = 1 + kind.parts().map(|part| part.depth).max().unwrap_or(0);
        if depth > NESTING_MAX {
            return Err(too_deep(span));
        }
        Ok(Syntax { span, depth, kind })
    }

    /// Anything, down to `?:`.
    fn expression(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(too_deep(self.span()));
        }
        let condition = self.some()?;
        let syntax = if self.passes("?") {
            let then = self.some()?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            let span = condition.span.to(otherwise.span);
            self.part(
                span,
                SyntaxKind::Choose(Box::new([condition, then, otherwise])),
            )?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(syntax)
    }

    fn some(&mut self) -> Parsed {
        self.chain("||", Self::every, SyntaxKind::Some)
    }

    fn every(&mut self) -> Parsed {
        self.chain("&&", |parser| parser.binary(0), SyntaxKind::Every)
    }

    /// One part, or several with a sign between them.
    fn chain(
        &mut self,
        sign: &str,
        part: impl Fn(&mut Self) -> Parsed,
        join: impl Fn(Vec<Syntax>) -> SyntaxKind,
    ) -> Parsed {
        let first = part(self)?;
        let mut span = first.span;
        let mut parts = Vec::new();
        while self.passes(sign) {
            let next = part(self)?;
            span = span.to(next.span);
            parts.push(next);
        }
        if parts.is_empty() {
            return Ok(first);
        }
        parts.insert(0, first);
        self.part(span, join(parts))
    }

    /// Operators that bind at least so tightly, from the left.
    fn binary(&mut self, least: u8) -> Parsed {
        let mut left = self.unary()?;
        while let Some((operator, binds)) = self.operator().filter(|(_, binds)| *binds >= least) {
            self.take();
            let right = self.binary(binds + 1)?;
            let span = left.span.to(right.span);
            let operands = Box::new([left, right]);
            left = self.part(span, SyntaxKind::Binary { operator, operands })?;
        }
        Ok(left)
    }

    /// The operator that is next, and how tightly it binds.
    fn operator(&self) -> Option<(Operator, u8)> {
        Some(match self.peek() {
            Token::Word(word) if word == "in" => (Operator::In, 0),
            Token::Sign("==") => (Operator::Equal, 0),
            Token::Sign("!=") => (Operator::Unequal, 0),
            Token::Sign("<") => (Operator::Less, 0),
            Token::Sign("<=") => (Operator::LessOrEqual, 0),
            Token::Sign(">") => (Operator::Greater, 0),
            Token::Sign(">=") => (Operator::GreaterOrEqual, 0),
            Token::Sign("+") => (Operator::Add, 1),
            Token::Sign("-") => (Operator::Subtract, 1),
            Token::Sign("*") => (Operator::Multiply, 2),
            Token::Sign("/") => (Operator::Divide, 2),
            Token::Sign("%") => (Operator::Remainder, 2),
            _ => return None,
        })
    }

    fn unary(&mut self) -> Parsed {
        let start = self.span();
        let mut signs = Vec::new();
        while matches!(self.peek(), Token::Sign("!" | "-")) {
            signs.push(self.take());
        }
        let mut syntax = match (self.peek(), signs.last().map(|sign| &sign.token)) {
            // The least whole number has no positive counterpart, so that its sign belongs to it.
            (&Token::Whole(whole), Some(Token::Sign("-"))) => {
                let number = self.take().span;
                let span = signs.pop().map_or(number, |sign| sign.span.to(number));
                let Some(negative) = 0i64.checked_sub_unsigned(whole) else {
                    return Err(too_large(span));
                };
                let literal = self.part(span, SyntaxKind::Literal(Literal::Int(negative)))?;
                self.postfix(literal)?
            }
            (&Token::Double(double), Some(Token::Sign("-"))) => {
                let number = self.take().span;
                let span = signs.pop().map_or(number, |sign| sign.span.to(number));
                let literal = self.part(span, SyntaxKind::Literal(Literal::Double(-double)))?;
                self.postfix(literal)?
            }
            _ => {
                let primary = self.primary()?;
                self.postfix(primary)?
            }
        };
        for sign in signs.iter().rev() {
            let span = sign.span.to(syntax.span);
            let operand = Box::new(syntax);
            let kind = match sign.token {
                Token::Sign("!") => SyntaxKind::Not(operand),
                _ => SyntaxKind::Negate(operand),
            };
            syntax = self.part(span, kind)?;
        }
        debug_assert!(syntax.span.start == start.start, "signs come first");
        Ok(syntax)
    }

    /// Fields, indices and calls behind a part.
    fn postfix(&mut self, mut syntax: Syntax) -> Parsed {
        loop {
            if self.passes(".") {
                let field = self.field()?;
                if self.passes("(") {
                    let (arguments, end) = self.arguments(")")?;
                    let span = syntax.span.to(end);
                    let target = Some(Box::new(syntax));
                    let function = field;
                    syntax = self.part(
                        span,
                        SyntaxKind::Call {
                            target,
                            function,
                            arguments,
                        },
                    )?;
                } else {
                    let span = syntax.span.to(field.span);
                    let of = Box::new(syntax);
                    syntax = self.part(span, SyntaxKind::Select { of, field })?;
                }
            } else if self.passes("[") {
                let by = Box::new(self.expression()?);
                let span = syntax.span.to(self.expect("]")?);
                let of = Box::new(syntax);
                syntax = self.part(span, SyntaxKind::Index { of, by })?;
            } else {
                return Ok(syntax);
            }
        }
    }

    fn field(&mut self) -> Result<Word, ExpressionError> {
        let span = self.span();
        match self.peek() {
            Token::Word(text) | Token::QuotedWord(text) => {
                let text = text.clone();
                self.take();
                Ok(Word { span, text })
            }
            Token::Sign("?") => {
                let help = "ask with has(a.b), and choose with has(a.b) ? a.b : null";
                Err(self.unexpected("the name of a field", Some(help)))
            }
            _ => Err(self.unexpected("the name of a field", None)),
        }
    }

    /// Parts with commas between them, up to a bracket, and the bracket's place. The last may have a comma too.
    fn arguments(&mut self, end: &'static str) -> Result<(Vec<Syntax>, Span), ExpressionError> {
        let mut arguments = Vec::new();
        loop {
            let span = self.span();
            if self.passes(end) {
                return Ok((arguments, span));
            }
            arguments.push(self.expression()?);
            if !self.passes(",") {
                return Ok((arguments, self.expect(end)?));
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let Placed { token, span } = self.take();
        let literal = |literal| SyntaxKind::Literal(literal);
        match token {
            Token::Whole(whole) => {
                let whole = i64::try_from(whole).map_err(|_| too_large(span))?;
                self.part(span, literal(Literal::Int(whole)))
            }
            Token::Double(double) => self.part(span, literal(Literal::Double(double))),
            Token::String(text) => self.part(span, literal(Literal::String(text))),
            Token::Sign("(") => {
                let inner = self.expression()?;
                let span = span.to(self.expect(")")?);
                Ok(Syntax { span, ..inner })
            }
            Token::Sign("[") => {
                let (parts, end) = self.arguments("]")?;
                self.part(span.to(end), SyntaxKind::List(parts))
            }
            Token::Sign("{") => self.map(span),
            Token::Word(word) => self.word(word, span),
            Token::QuotedWord(word) => {
                let help = "only a field can: a.`b-c`";
                let message = format!("`{word}` cannot stand in backticks here");
                Err(error(span, message, Some(help.to_owned())))
            }
            Token::Sign(_) | Token::End => {
                self.next -= usize::from(token != Token::End);
                Err(self.unexpected("a value", None))
            }
        }
    }

    fn word(&mut self, word: String, span: Span) -> Parsed {
        let literal = match word.as_str() {
            "null" => Some(Literal::Null),
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            _ => None,
        };
        if let Some(literal) = literal {
            return self.part(span, SyntaxKind::Literal(literal));
        }
        if word == "in" {
            self.next -= 1;
            return Err(self.unexpected("a value", None));
        }
        if is_reserved_word(&word) {
            let help = "bind the value to another name under the node's `input:`";
            let message = format!("`{word}` is a word that expressions keep for themselves");
            return Err(error(span, message, Some(help.to_owned())));
        }
        if self.passes("(") {
            let (arguments, end) = self.arguments(")")?;
            let function = Word { span, text: word };
            let kind = SyntaxKind::Call {
                target: None,
                function,
                arguments,
            };
            return self.part(span.to(end), kind);
        }
        if word == "not" && matches!(self.peek(), Token::Word(_)) {
            let help = Some("write `!` for \"not\"".to_owned());
            return Err(error(span, "`not` is no operator", help));
        }
        if self.peek() == &Token::Sign("{") {
            let help = "write the fields alone: {\"a\": 1}".to_owned();
            let message = format!("`{word}` is no type of object: JSON has none");
            return Err(error(span, message, Some(help)));
        }
        self.part(span, SyntaxKind::Name(word))
    }

    fn map(&mut self, start: Span) -> Parsed {
        let mut entries = Vec::new();
        let end = loop {
            let span = self.span();
            if self.passes("}") {
                break span;
            }
            let key = self.expression()?;
            self.expect(":")?;
            entries.push([key, self.expression()?]);
            if !self.passes(",") {
                break self.expect("}")?;
            }
        };
        self.part(start.to(end), SyntaxKind::Map(entries))
    }
}

fn too_large(span: Span) -> ExpressionError {
    let help = "write it with a point, as 1e20, if it need not be exact".to_owned();
    let message = "this number is beyond the whole numbers of 64 bits";
    error(span, message, Some(help))
}

fn too_deep(span: Span) -> ExpressionError {
    let message = format!("more than {NESTING_MAX} parts lie within each other here");
    let help = "compute a part of it in a node of its own".to_owned();
    error(span, message, Some(help))
}
