//! Payload templates (`Parameters`, `ItemSelector`, `ResultSelector`): objects in which a key that ends with `.$` takes
//! its value from a path or an intrinsic function.

use super::cel::{Cel, EXPRESSION_BYTES_MAX, Reads};
use super::intrinsic;
use super::path::{Path, Step};
use crate::definition::Span;
use crate::import::problem::ImportProblem;
use crate::import::read::Reader;
use crate::import::tree::{Tree, Value};

/// What paths lead into.
pub(super) struct Scope<'a> {
    /// What `$` stands for.
    pub(super) input: Cel,
    /// The state's name.
    pub(super) state: &'a str,
    /// In a Map, the item and its place.
    pub(super) item: Option<(Cel, Cel)>,
}

impl Scope<'_> {
    /// What stands at a path.
    pub(super) fn follow(&self, path: &Path) -> Result<Cel, String> {
        let (base, steps) = self.base(path)?;
        let rest = Path {
            context: path.context,
            steps: steps.to_vec(),
        };
        Ok(rest.to_cel(&base))
    }

    /// Whether something stands at a path.
    pub(super) fn present(&self, path: &Path) -> Result<Cel, String> {
        let (base, steps) = self.base(path)?;
        let rest = Path {
            context: path.context,
            steps: steps.to_vec(),
        };
        Ok(rest.present(&base))
    }

    /// Where a path begins, and how it goes on from there.
    fn base<'p>(&self, path: &'p Path) -> Result<(Cel, &'p [Step]), String> {
        if !path.context {
            return Ok((self.input.clone(), &path.steps));
        }
        let name = |place: usize| match path.steps.get(place) {
            Some(Step::Field(name)) => name.as_str(),
            Some(Step::Index(_) | Step::All) | None => "",
        };
        let (base, used) = match (name(0), name(1), name(2)) {
            ("Execution", "Input", _) => (Cel::name(super::INPUT, Reads::default()), 2),
            ("State", "Name", _) => (Cel::text_literal(self.state), 2),
            ("Map", "Item", "Value") => match &self.item {
                Some((value, _)) => (value.clone(), 3),
                None => return Err("there is no item outside a Map".to_owned()),
            },
            ("Map", "Item", "Index") => match &self.item {
                Some((_, index)) => (index.clone(), 3),
                None => return Err("there is no item outside a Map".to_owned()),
            },
            _ => {
                return Err(
                    "of the context object `$$.Execution.Input`, `$$.State.Name` and, within a Map, \
                     `$$.Map.Item.Value` and `$$.Map.Item.Index` have a like here"
                        .to_owned(),
                );
            }
        };
        Ok((base, &path.steps[used..]))
    }
}

/// Notes that an expression of the state machine has no like here.
pub(super) fn refuse(reader: &mut Reader, span: Span, text: &str, why: &str) {
    let kind = ImportProblem::Expression(format!("`{text}`: {why}"));
    let help = "let a function do it, or a state before this one, in a way that has a like here";
    reader.add(span, kind, help);
}

/// Notes that something becomes a longer expression than there may be.
pub(super) fn too_long(reader: &mut Reader, span: Span) {
    let what = format!("what becomes an expression of more than {EXPRESSION_BYTES_MAX} bytes");
    reader.not_covered(
        span,
        what,
        "do part of it in a state before this one, or in a function",
    );
}

/// The path in a text.
pub(super) fn path(reader: &mut Reader, tree: &Tree, what: &str) -> Option<Path> {
    let text = reader.text(tree, what)?;
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(why) => {
            refuse(reader, tree.span, text, &why);
            None
        }
    }
}

/// What stands at the path in a text.
pub(super) fn at_path(
    reader: &mut Reader,
    tree: &Tree,
    what: &str,
    scope: &Scope<'_>,
) -> Option<Cel> {
    let path = path(reader, tree, what)?;
    match scope.follow(&path) {
        Ok(cel) => Some(cel),
        Err(why) => {
            refuse(reader, tree.span, reader_text(tree), &why);
            None
        }
    }
}

fn reader_text(tree: &Tree) -> &str {
    match &tree.value {
        Value::Text(text) => text,
        _ => "",
    }
}

/// The value of a path or an intrinsic function.
pub(super) fn dynamic(
    reader: &mut Reader,
    tree: &Tree,
    what: &str,
    scope: &Scope<'_>,
) -> Option<Cel> {
    let text = reader.text(tree, what)?;
    if text.starts_with('$') {
        return at_path(reader, tree, what, scope);
    }
    if !text.starts_with("States.") {
        let why = "a key that ends with `.$` takes a path, which begins with `$`, or an intrinsic function";
        refuse(reader, tree.span, text, why);
        return None;
    }
    match intrinsic::parse(text, scope) {
        Ok(cel) => Some(cel),
        Err(why) => {
            refuse(reader, tree.span, text, &why);
            None
        }
    }
}

/// The value of a template.
pub(super) fn template(reader: &mut Reader, tree: &Tree, scope: &Scope<'_>) -> Option<Cel> {
    match &tree.value {
        Value::Map(entries) => {
            // All are looked at, so that all that is wrong is found.
            let mut fields = Vec::with_capacity(entries.len());
            let mut complete = true;
            let mut bytes = 0;
            for (key, value) in entries {
                let (key, cel) = match key.value.strip_suffix(".$") {
                    Some(plain) => (
                        plain,
                        dynamic(reader, value, &format!("`{}`", key.value), scope),
                    ),
                    None => (key.value.as_str(), template(reader, value, scope)),
                };
                match cel {
                    Some(cel) => {
                        bytes += cel.text().len();
                        fields.push((key.to_owned(), cel));
                    }
                    None => complete = false,
                }
                if bytes > EXPRESSION_BYTES_MAX {
                    too_long(reader, tree.span);
                    return None;
                }
            }
            complete.then(|| Cel::object(&fields))
        }
        Value::List(items) => {
            let mut cels = Vec::with_capacity(items.len());
            let mut bytes = 0;
            for item in items {
                let cel = template(reader, item, scope)?;
                bytes += cel.text().len();
                cels.push(cel);
                if bytes > EXPRESSION_BYTES_MAX {
                    too_long(reader, tree.span);
                    return None;
                }
            }
            Some(Cel::list(&cels))
        }
        _ => Some(Cel::literal(&tree.to_json())),
    }
}

/// Whether a template is a plain value.
pub(super) fn is_constant(tree: &Tree) -> bool {
    match &tree.value {
        Value::Map(entries) => entries
            .iter()
            .all(|(key, value)| !key.value.ends_with(".$") && is_constant(value)),
        Value::List(items) => items.iter().all(is_constant),
        _ => true,
    }
}
