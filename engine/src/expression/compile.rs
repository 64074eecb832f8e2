//! From syntax to program: which values the names are, and whether kinds can go together.

use super::functions;
use super::kinds::Kinds;
use super::program::{Node, NodeKind};
use super::syntax::{Macro, MacroCall, Operator, Span, Syntax, SyntaxKind, Word, macro_named};
use super::token::error;
use super::value::{Kind, Literal};
use super::{ExpressionError, Gives};

type Compiled = Result<(Node, Kinds), ExpressionError>;

/// The program of an expression over the values of these names, which have these kinds, and what it may give.
pub(super) fn compile(syntax: &Syntax, values: &[(&str, Kinds)]) -> Compiled {
    let mut compiler = Compiler {
        values,
        bound: Vec::new(),
    };
    compiler.part(syntax)
}

/// Refuses what can never be what the whole is to give.
pub(super) fn expect_whole(
    syntax: &Syntax,
    kinds: Kinds,
    gives: Gives,
) -> Result<(), ExpressionError> {
    let (wanted, rule) = match gives {
        Gives::Value => return Ok(()),
        Gives::Truth => (Kinds::BOOL, "a condition must be"),
        Gives::Milliseconds => (Kinds::NUMBER, "a number of milliseconds must be"),
        Gives::Time => (Kinds::TIME.or(Kinds::STRING), "a time must be"),
    };
    expect(syntax, kinds, wanted, rule)
}

fn expect(syntax: &Syntax, kinds: Kinds, wanted: Kinds, rule: &str) -> Result<(), ExpressionError> {
    expect_at(syntax.span, kinds, wanted, rule)
}

fn expect_at(span: Span, kinds: Kinds, wanted: Kinds, rule: &str) -> Result<(), ExpressionError> {
    if kinds.meets(wanted) {
        return Ok(());
    }
    let (given, takes) = (kinds.with_article(), wanted.with_article());
    let message = format!("{rule} {takes}, and this is {given}");
    Err(error(span, message, conversion(kinds, wanted)))
}

/// How to make one of the kinds that are given one of those that are wanted, if that can be said.
fn conversion(given: Kinds, wanted: Kinds) -> Option<String> {
    let scalar = Kinds::NUMBER.or(Kinds::BOOL).or(Kinds::TIME);
    let help = if wanted == Kinds::BOOL {
        "compare it with something: == != < <= > >= or in"
    } else if wanted.meets(Kinds::STRING) && given.meets(scalar) {
        "string(x) makes a text of it"
    } else if wanted.meets(Kinds::NUMBER) && given == Kinds::STRING {
        "int(x) or double(x) makes a number of it"
    } else {
        return None;
    };
    Some(help.to_owned())
}

struct Compiler<'s> {
    /// What exists, and what is known of it.
    values: &'s [(&'s str, Kinds)],
    /// Names that macros around bind, the outermost first.
    bound: Vec<&'s str>,
}

impl<'s> Compiler<'s> {
    fn part(&mut self, syntax: &'s Syntax) -> Compiled {
        let (kind, kinds) = match &syntax.kind {
            SyntaxKind::Literal(literal) => {
                let kinds = match literal {
                    Literal::Null => Kinds::NULL,
                    Literal::Bool(_) => Kinds::BOOL,
                    Literal::Int(_) => Kinds::INT,
                    Literal::Double(_) => Kinds::DOUBLE,
                    Literal::String(_) => Kinds::STRING,
                    Literal::Type(_) => Kinds::TYPE,
                };
                (NodeKind::Literal(literal.clone()), kinds)
            }
            SyntaxKind::Name(_) | SyntaxKind::Select { .. } => return self.reference(syntax),
            SyntaxKind::Index { of, by } => self.index(of, by)?,
            SyntaxKind::Not(of) => {
                let (node, kinds) = self.part(of)?;
                expect(of, kinds, Kinds::BOOL, "`!` takes")?;
                (NodeKind::Not(Box::new(node)), Kinds::BOOL)
            }
            SyntaxKind::Negate(of) => {
                let (node, kinds) = self.part(of)?;
                expect(of, kinds, Kinds::NUMBER, "`-` takes")?;
                (NodeKind::Negate(Box::new(node)), kinds.and(Kinds::NUMBER))
            }
            SyntaxKind::Every(parts) => (NodeKind::Every(self.booleans(parts, "&&")?), Kinds::BOOL),
            SyntaxKind::Some(parts) => (NodeKind::Some(self.booleans(parts, "||")?), Kinds::BOOL),
            SyntaxKind::Binary { operator, operands } => {
                let [left, right] = &**operands;
                let ((left, gives), (right, takes)) = (self.part(left)?, self.part(right)?);
                let kinds = operation(syntax, *operator, gives, takes)?;
                let operator = *operator;
                let operands = Box::new([left, right]);
                (NodeKind::Binary { operator, operands }, kinds)
            }
            SyntaxKind::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                let (test, kinds) = self.part(condition)?;
                expect(condition, kinds, Kinds::BOOL, "before `?` stands")?;
                let ((then, one), (otherwise, other)) = (self.part(then)?, self.part(otherwise)?);
                let parts = Box::new([test, then, otherwise]);
                (NodeKind::Choose(parts), one.or(other))
            }
            SyntaxKind::List(parts) => {
                let parts: Result<Vec<Node>, _> =
                    parts.iter().map(|part| Ok(self.part(part)?.0)).collect();
                (NodeKind::List(parts?), Kinds::LIST)
            }
            SyntaxKind::Map(entries) => {
                let mut nodes = Vec::with_capacity(entries.len());
                for [key, value] in entries {
                    let (node, kinds) = self.part(key)?;
                    expect(key, kinds, Kinds::KEY, "a key is")?;
                    nodes.push([node, self.part(value)?.0]);
                }
                (NodeKind::Map(nodes), Kinds::MAP)
            }
            SyntaxKind::Call {
                target,
                function,
                arguments,
            } => return self.call(syntax, target.as_deref(), function, arguments),
        };
        let span = syntax.span;
        Ok((Node { span, kind }, kinds))
    }

    fn booleans(&mut self, parts: &'s [Syntax], sign: &str) -> Result<Vec<Node>, ExpressionError> {
        let rule = format!("`{sign}` takes");
        let mut nodes = Vec::with_capacity(parts.len());
        for part in parts {
            let (node, kinds) = self.part(part)?;
            expect(part, kinds, Kinds::BOOL, &rule)?;
            nodes.push(node);
        }
        Ok(nodes)
    }

    fn index(
        &mut self,
        of: &'s Syntax,
        by: &'s Syntax,
    ) -> Result<(NodeKind, Kinds), ExpressionError> {
        let ((object, has), (key, given)) = (self.part(of)?, self.part(by)?);
        expect(of, has, Kinds::LIST.or(Kinds::MAP), "`[ ]` takes from")?;
        let mut keys = Kinds::NONE;
        if has.meets(Kinds::LIST) {
            keys = keys.or(Kinds::NUMBER);
        }
        if has.meets(Kinds::MAP) {
            keys = keys.or(Kinds::KEY);
        }
        expect(by, given, keys, "between `[` and `]` stands")?;
        Ok((NodeKind::Index(Box::new([object, key])), Kinds::ANY))
    }

    /// A name, or fields of anything.
    fn reference(&mut self, syntax: &'s Syntax) -> Compiled {
        let span = syntax.span;
        let mut fields: Vec<&'s Word> = Vec::new();
        let mut root = syntax;
        while let SyntaxKind::Select { of, field } = &root.kind {
            fields.push(field);
            root = of;
        }
        fields.reverse();
        let SyntaxKind::Name(name) = &root.kind else {
            let (node, kinds) = self.part(root)?;
            expect(root, kinds, Kinds::MAP, "a field is taken from")?;
            return Ok((select(node, &fields, syntax), Kinds::ANY));
        };
        if let Some(local) = self.bound.iter().rposition(|bound| bound == name) {
            let node = Node {
                span: root.span,
                kind: NodeKind::Local(local),
            };
            return Ok((select(node, &fields, syntax), Kinds::ANY));
        }
        if let Some((slot, rest)) = self.slot(name, &fields) {
            let mut kinds = self.values[slot].1;
            if !rest.is_empty() {
                let before = &fields[..fields.len() - rest.len()];
                let of = before
                    .last()
                    .map_or(root.span, |field| root.span.to(field.span));
                expect_at(of, kinds, Kinds::MAP, "a field is taken from")?;
                kinds = Kinds::ANY;
            }
            let path = rest.iter().map(|field| field.text.clone()).collect();
            let kind = NodeKind::Value { slot, path };
            return Ok((Node { span, kind }, kinds));
        }
        match Kind::named(name) {
            Some(kind) if fields.is_empty() => {
                let kind = NodeKind::Literal(Literal::Type(kind));
                Ok((Node { span, kind }, Kinds::TYPE))
            }
            _ => Err(self.unknown(root, name, &fields)),
        }
    }

    /// The value that a name and fields mean, and the fields that are left.
    fn slot<'w>(&self, name: &str, fields: &'w [&'s Word]) -> Option<(usize, &'w [&'s Word])> {
        let find = |path: &str| self.values.iter().position(|(known, _)| *known == path);
        if let [field, rest @ ..] = fields
            && let Some(slot) = find(&format!("{name}.{}", field.text))
        {
            return Some((slot, rest));
        }
        find(name).map(|slot| (slot, fields))
    }

    fn unknown(&self, root: &Syntax, name: &str, fields: &[&Word]) -> ExpressionError {
        let python = match name {
            "True" | "False" | "None" => Some(name),
            _ => None,
        };
        let names = self.values.iter().map(|(name, _)| *name);
        let mut known: Vec<&str> = self.bound.iter().copied().chain(names.clone()).collect();
        let left_out = known.len().saturating_sub(12);
        known.truncate(12);
        let mut help = match (python, known.is_empty()) {
            (Some("None"), _) => "write null".to_owned(),
            (Some(name), _) => format!("write {}", name.to_lowercase()),
            (None, true) => "there are no values here".to_owned(),
            (None, false) => format!("there are {}", known.join(", ")),
        };
        if left_out > 0 && python.is_none() {
            help += &format!(" and {left_out} more");
        }
        let start = format!("{name}.");
        let (span, path) = match fields {
            [field, ..] if names.clone().any(|known| known.starts_with(&start)) => {
                (root.span.to(field.span), format!("{start}{}", field.text))
            }
            _ => (root.span, name.to_owned()),
        };
        error(span, format!("there is no value `{path}`"), Some(help))
    }

    fn call(
        &mut self,
        syntax: &'s Syntax,
        target: Option<&'s Syntax>,
        name: &'s Word,
        arguments: &'s [Syntax],
    ) -> Compiled {
        let span = syntax.span;
        if target.is_none() && name.text == "has" {
            return self.has(syntax, name, arguments);
        }
        if let Some(which) = macro_named(&name.text).filter(|_| target.is_some()) {
            let Some(call) = syntax.as_macro() else {
                let how = match which {
                    Macro::Map => "list.map(x, x + 1), or list.map(x, x > 0, x + 1)".to_owned(),
                    _ => format!("list.{}(x, x > 0)", name.text),
                };
                let message = format!("`{}` takes a name and what is done with it", name.text);
                return Err(error(name.span, message, Some(format!("write {how}"))));
            };
            return self.macro_call(syntax, &call);
        }
        let given: Vec<&Syntax> = target.into_iter().chain(arguments).collect();
        let signature = functions::find(&name.text, target.is_some(), given.len())
            .map_err(|(message, help)| error(name.span, message, Some(help)))?;
        let mut nodes = Vec::with_capacity(given.len());
        for (place, argument) in given.into_iter().enumerate() {
            let (node, kinds) = self.part(argument)?;
            let rule = format!("`{}` takes", name.text);
            expect(argument, kinds, signature.takes[place], &rule)?;
            nodes.push(node);
        }
        let function = signature.function;
        let kind = NodeKind::Call {
            function,
            arguments: nodes,
        };
        Ok((Node { span, kind }, signature.gives))
    }

    fn has(&mut self, syntax: &'s Syntax, name: &Word, arguments: &'s [Syntax]) -> Compiled {
        let span = syntax.span;
        let [argument] = arguments else {
            let help = Some("write has(a.b)".to_owned());
            return Err(error(name.span, "`has` takes one field", help));
        };
        let SyntaxKind::Select { of, field } = &argument.kind else {
            let help = "write has(a.b); whether a value is there at all, ask with a != null";
            let message = "`has` takes a field";
            return Err(error(argument.span, message, Some(help.to_owned())));
        };
        if let SyntaxKind::Name(name) = &of.kind
            && !self.bound.contains(&name.as_str())
            && let Some((slot, [])) = self.slot(name, &[field])
        {
            let kind = NodeKind::IsPresent { slot };
            return Ok((Node { span, kind }, Kinds::BOOL));
        }
        let (node, kinds) = self.part(of)?;
        expect(
            of,
            kinds,
            Kinds::MAP.or(Kinds::NULL),
            "a field is taken from",
        )?;
        let kind = NodeKind::Has {
            of: Box::new(node),
            field: field.text.clone(),
        };
        Ok((Node { span, kind }, Kinds::BOOL))
    }

    fn macro_call(&mut self, syntax: &'s Syntax, call: &MacroCall<'s>) -> Compiled {
        let (over, kinds) = self.part(call.over)?;
        expect(
            call.over,
            kinds,
            Kinds::LIST.or(Kinds::MAP),
            "a macro runs over",
        )?;
        let SyntaxKind::Name(variable) = &call.variable.kind else {
            let message = "the name of an element stands here";
            let help = Some("write list.all(x, x > 0)".to_owned());
            return Err(error(call.variable.span, message, help));
        };
        self.bound.push(variable);
        let mut parts = Vec::with_capacity(call.parts.len());
        for (place, part) in call.parts.iter().enumerate() {
            let (node, kinds) = self.part(part)?;
            if call.which != Macro::Map || place + 1 < call.parts.len() {
                expect(part, kinds, Kinds::BOOL, "asked of each element is")?;
            }
            parts.push(node);
        }
        self.bound.pop();
        let gives = match call.which {
            Macro::All | Macro::Exists | Macro::ExistsOne => Kinds::BOOL,
            Macro::Filter | Macro::Map => Kinds::LIST,
        };
        let kind = NodeKind::Macro {
            which: call.which,
            over: Box::new(over),
            parts,
        };
        let span = syntax.span;
        Ok((Node { span, kind }, gives))
    }
}

/// Fields of what a node gives.
fn select(node: Node, fields: &[&Word], syntax: &Syntax) -> Node {
    fields.iter().fold(node, |node, field| {
        let mut span = syntax.span;
        span.end = field.span.end;
        let kind = NodeKind::Select {
            of: Box::new(node),
            field: field.text.clone(),
        };
        Node { span, kind }
    })
}

/// What an operator gives, unless its operands can never go together.
fn operation(
    syntax: &Syntax,
    operator: Operator,
    left: Kinds,
    right: Kinds,
) -> Result<Kinds, ExpressionError> {
    let both = left.and(right);
    let numbers = left.meets(Kinds::NUMBER) && right.meets(Kinds::NUMBER);
    let number = if !numbers {
        Kinds::NONE
    } else if left.meets(Kinds::INT) && right.meets(Kinds::INT) {
        let other = left.or(right).and(Kinds::DOUBLE);
        Kinds::INT.or(other)
    } else {
        Kinds::DOUBLE
    };
    let (gives, sign) = match operator {
        Operator::Equal | Operator::Unequal => {
            let null = Kinds::NULL;
            let can = numbers || both != Kinds::NONE || left == null || right == null;
            let sign = if operator == Operator::Equal {
                "=="
            } else {
                "!="
            };
            (if can { Kinds::BOOL } else { Kinds::NONE }, sign)
        }
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            let ordered = Kinds::STRING.or(Kinds::BOOL).or(Kinds::TIME);
            let can = numbers || both.meets(ordered);
            let sign = match operator {
                Operator::Less => "<",
                Operator::LessOrEqual => "<=",
                Operator::Greater => ">",
                _ => ">=",
            };
            (if can { Kinds::BOOL } else { Kinds::NONE }, sign)
        }
        Operator::In => {
            let in_map = right.meets(Kinds::MAP) && left.meets(Kinds::KEY);
            let can = right.meets(Kinds::LIST) || in_map;
            (if can { Kinds::BOOL } else { Kinds::NONE }, "in")
        }
        Operator::Add => (number.or(both.and(Kinds::STRING.or(Kinds::LIST))), "+"),
        Operator::Subtract => (number, "-"),
        Operator::Multiply => (number, "*"),
        Operator::Divide => (number, "/"),
        Operator::Remainder => (number, "%"),
    };
    if gives != Kinds::NONE {
        return Ok(gives);
    }
    let name = |kinds: Kinds| match kinds {
        Kinds::ANY => "anything".to_owned(),
        kinds => kinds.with_article(),
    };
    let message = format!(
        "`{sign}` does not go with {} and {}",
        name(left),
        name(right)
    );
    let text = left.meets(Kinds::STRING) != right.meets(Kinds::STRING);
    let one_text = text && (left == Kinds::STRING || right == Kinds::STRING);
    let number = left.meets(Kinds::NUMBER) || right.meets(Kinds::NUMBER);
    let help = match operator {
        Operator::Add if one_text => Some("string(x) makes a text of a number or a boolean"),
        Operator::In => Some("behind `in` stands a list, or an object with such keys"),
        _ if one_text && number => Some("int(x) or double(x) makes a number of a text"),
        _ => None,
    };
    let help = help.map(str::to_owned);
    Err(error(syntax.span, message, help))
}
