//! Reading definitions: from bytes, or from a file together with the files that it names.
//!
//! A file is read once, however often it is named. How many there are, how deep they hold each other and how many bytes
//! they have together is bounded; a file that holds itself is refused with the way round.

use super::problem;
use super::{
    DEFINITION_BYTES_MAX, Definition, DefinitionError, ProblemKind, SourceText, check, read,
};
use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// Other files that a definition may hold in all.
const FILES_MAX: usize = 256;
/// How deep files may hold each other.
const DEPTH_MAX: usize = 8;
/// What all files together may have, in bytes.
const BYTES_MAX: usize = 4 * DEFINITION_BYTES_MAX;

/// Reads a definition that stands by itself: what names another workflow's file is refused. `name` is how errors call
/// the text.
///
/// # Errors
/// Everything that is wrong with it (up to a bound), but for what only follows from something else that is wrong. What is
/// no YAML, or has two of one name, is told by itself; nodes that wait for each other are told with the rest.
///
/// ```
/// let text = "\
/// workflow: hello
/// input: { name: bytes }
/// nodes:
///   greet: { function: \"hello:greet\", input: { name: input.name }, output: { text: bytes } }
/// output: { text: greet.txet }
/// ";
/// let error = master::definition::parse("hello.yaml", text.as_bytes()).unwrap_err();
/// let problem = &error.problems[0];
/// assert_eq!((problem.place.line, problem.place.column), (5, 17));
/// assert_eq!(problem.help.as_deref(), Some("did you mean `greet.text`?"));
/// ```
pub fn parse(name: &str, bytes: &[u8]) -> Result<Definition, DefinitionError> {
    Files::default().whole(name, bytes)
}

/// Reads a definition; `others` gives the bytes of the files that it and they name, by path: that of the naming file,
/// which `name` is for the first, with the named one in its place.
///
/// # Errors
/// As [`parse`], and everything that is wrong with the other files.
///
/// ```
/// let outer = "{ workflow: outer, nodes: { all: { workflow: parts/inner.yaml } } }";
/// let inner = "{ workflow: inner, nodes: { one: { function: \"e:f\" } } }";
/// let mut others = |path: &std::path::Path| {
///     assert_eq!(path, std::path::Path::new("flows/parts/inner.yaml"));
///     Ok(inner.as_bytes().to_vec())
/// };
/// let outer = master::definition::parse_with("flows/outer.yaml", outer.as_bytes(), &mut others)?;
/// assert_eq!(outer.nodes[0].name.value, "all/one");
/// # Ok::<(), master::definition::DefinitionError>(())
/// ```
pub fn parse_with(
    name: &str,
    bytes: &[u8],
    others: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
) -> Result<Definition, DefinitionError> {
    let mut files = Files {
        others: Some(others),
        ..Files::default()
    };
    files.whole(name, bytes)
}

/// Why a definition's file gave no definition.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the definition {path}: {source}")]
    #[diagnostic(help("name a workflow file; docs/language.md says what stands in it"))]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than a definition may be.
    #[error("the definition {path} has more than {DEFINITION_BYTES_MAX} bytes")]
    #[diagnostic(help("is it a workflow file?"))]
    Long {
        /// Which file.
        path: String,
    },
    /// What it says is no definition.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Definition(#[from] DefinitionError),
}

/// Reads the definition in a file, and in those that it names.
///
/// # Errors
/// If the file cannot be read, or as [`parse_with`] says.
pub fn load(path: &Path) -> Result<Definition, LoadError> {
    let name = path.display().to_string();
    let bytes = bytes_of(path).map_err(|source| LoadError::Read {
        path: name.clone(),
        source,
    })?;
    if bytes.len() > DEFINITION_BYTES_MAX {
        return Err(LoadError::Long { path: name });
    }
    let mut others = |path: &Path| {
        // A pipe, say, would keep the program waiting for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        bytes_of(path)
    };
    Ok(parse_with(&name, &bytes, &mut others)?)
}

/// One byte more than a definition may have, at most.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(DEFINITION_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why another file gave no definition.
pub(super) enum OtherError {
    /// It is not to be had: what is wrong with naming it, and what would be right.
    Named(ProblemKind, String),
    /// It is wrong itself. None, if that has been told already.
    Wrong(Option<DefinitionError>),
}

type Others<'f> = &'f mut dyn FnMut(&Path) -> io::Result<Vec<u8>>;

/// The files of one definition.
#[derive(Default)]
pub(super) struct Files<'f> {
    others: Option<Others<'f>>,
    /// By path; none of what is wrong.
    known: HashMap<PathBuf, Option<Rc<Definition>>>,
    /// Those that hold one another, down to the one that is read.
    open: Vec<PathBuf>,
    bytes: usize,
}

impl Files<'_> {
    /// The definition that nobody names, with the texts of all others.
    fn whole(&mut self, name: &str, bytes: &[u8]) -> Result<Definition, DefinitionError> {
        let mut definition = self.definition(name, bytes)?;
        let mut known: Vec<_> = self.known.drain().collect();
        known.sort_by(|(first, _), (second, _)| first.cmp(second));
        let others = known.into_iter().filter_map(|(_, other)| other);
        definition.files = others.map(|other| other.source.clone()).collect();
        Ok(definition)
    }

    fn definition(&mut self, name: &str, bytes: &[u8]) -> Result<Definition, DefinitionError> {
        let text = problem::text_of(name, bytes)?;
        let source = SourceText {
            name: name.into(),
            text: text.into(),
        };
        self.open.push(plain(Path::new(name)));
        let definition = read::read(&source)
            .and_then(|(raw, problems)| check::check(source, raw, problems, self));
        self.open.pop();
        definition
    }

    /// The definition in a file that the one being read names.
    pub(super) fn other(&mut self, named: &str) -> Result<Rc<Definition>, OtherError> {
        let refuse = |kind, help: &str| Err(OtherError::Named(kind, help.to_owned()));
        if self.others.is_none() {
            let path = problem::quoted(named);
            let help = "give it as a file, beside which the other lies";
            return refuse(ProblemKind::NoFiles { path }, help);
        }
        let unreadable = |reason: &str| ProblemKind::File {
            path: problem::quoted(named),
            reason: reason.to_owned(),
        };
        if named.is_empty() || Path::new(named).is_absolute() || named.contains('\0') {
            let help = "name it relative to this file, as in `workflow: parts/other.yaml`";
            return refuse(unreadable("it is no relative path"), help);
        }
        let naming = self.open.last().map_or(Path::new(""), |path| path);
        let path = path_of(naming, named);
        if let Some(first) = self.open.iter().position(|open| *open == path) {
            let way = self.open[first..].iter().chain([&path]);
            let path = way.map(|path| path.display().to_string()).collect();
            let help = "a workflow cannot hold itself: take one of these `workflow` away";
            return refuse(ProblemKind::FileCycle { path }, help);
        }
        if let Some(known) = self.known.get(&path) {
            return known.clone().ok_or(OtherError::Wrong(None));
        }
        let count = |what: &str, count: usize, limit: usize| ProblemKind::Count {
            what: what.to_owned(),
            count,
            limit,
        };
        if self.open.len() > DEPTH_MAX {
            let kind = count(
                "the workflows within each other",
                self.open.len(),
                DEPTH_MAX,
            );
            return refuse(kind, "put their nodes into fewer files");
        }
        if self.known.len() >= FILES_MAX {
            let kind = count(
                "the files of this workflow",
                self.known.len() + 1,
                FILES_MAX,
            );
            return refuse(kind, "put their nodes into fewer files");
        }
        let Some(read) = self.others.as_mut() else {
            unreachable!("it was asked above");
        };
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let help = format!(
                    "paths are relative to the file that names them: this one is {}",
                    path.display()
                );
                return refuse(unreadable(&error.to_string()), &help);
            }
        };
        self.bytes += bytes.len();
        if self.bytes > BYTES_MAX {
            let kind = count("the bytes of all files together", self.bytes, BYTES_MAX);
            return refuse(kind, "are they workflow files?");
        }
        let name = path.display().to_string();
        match self.definition(&name, &bytes) {
            Ok(definition) => {
                let definition = Rc::new(definition);
                self.known.insert(path, Some(Rc::clone(&definition)));
                Ok(definition)
            }
            Err(error) => {
                self.known.insert(path, None);
                Err(OtherError::Wrong(Some(error)))
            }
        }
    }
}

/// The path of the file that another one, at `naming`, calls `named`.
pub(crate) fn path_of(naming: &Path, named: &str) -> PathBuf {
    let naming = plain(naming);
    plain(&naming.parent().unwrap_or(Path::new("")).join(named))
}

/// A path without `.`, and without `..` behind a folder.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(plain.components().next_back(), Some(Component::Normal(_))) =>
            {
                plain.pop();
            }
            _ => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_path() {
        for (path, plainly) in [
            ("./a/../b.yaml", "b.yaml"),
            ("../a/./b.yaml", "../a/b.yaml"),
            ("a/b/../../../c.yaml", "../c.yaml"),
            ("/a/../b.yaml", "/b.yaml"),
        ] {
            assert_eq!(plain(Path::new(path)), PathBuf::from(plainly), "{path}");
        }
    }
}
