//! The files of a workflow, with hints written into them.
//!
//! A node of a workflow within another stands in that one's file; where several nodes name one file, what was measured of
//! all of them makes its hints.

use super::hints::{Always, Figures, Hints, Items};
use super::measured::Profile;
use super::rewrite::{self, Change, FileNode, RewriteError};
use super::whole::Whole;
use crate::certificate::{self, Bounds, Verdict};
use crate::definition::{self, Definition, DefinitionError, SourceText, path_of};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A workflow's files with hints in them. Nothing has been written anywhere.
#[derive(Clone, Debug)]
pub struct Hinted {
    /// The workflow's file first, then those that it and they name.
    pub files: Vec<HintedFile>,
    /// Measured nodes that were left as they are, and why.
    pub left: Vec<(String, String)>,
    /// Nodes that never ran, or were never measured: they keep their hints.
    pub unmeasured: Vec<String>,
}

/// A file with hints in it.
#[derive(Clone, Debug)]
pub struct HintedFile {
    /// Its name.
    pub name: String,
    /// Its text, with the hints.
    pub text: String,
    /// What has changed in it.
    pub changes: Vec<Change>,
}

/// A node of a file: the file by its place, and the node's name there.
type Place = (usize, String);

/// What stands in the files of a definition.
struct Sources<'a> {
    texts: Vec<&'a SourceText>,
    nodes: Vec<BTreeMap<String, FileNode>>,
    by_path: HashMap<String, usize>,
}

impl<'a> Sources<'a> {
    fn of(definition: &'a Definition) -> Result<Self, DefinitionError> {
        let texts: Vec<&SourceText> = [&definition.source]
            .into_iter()
            .chain(&definition.files)
            .collect();
        let nodes = texts
            .iter()
            .map(|source| rewrite::nodes_of(&source.name, &source.text));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            by_path: texts
                .iter()
                .map(|one| one.name.to_string())
                .zip(0..)
                .collect(),
            texts,
        })
    }

    /// Where a node of the workflow stands.
    fn place_of(&self, node: &str) -> Option<Place> {
        let (mut file, mut rest) = (0, node);
        while let Some((outer, inner)) = rest.split_once('/') {
            let named = self.nodes[file].get(outer)?.workflow.as_ref()?;
            let path = path_of(Path::new(&*self.texts[file].name), named);
            file = *self.by_path.get(&path.display().to_string())?;
            rest = inner;
        }
        let here = self.nodes[file].contains_key(rest);
        here.then(|| (file, rest.to_owned()))
    }
}

impl Hinted {
    /// Puts what was measured into the files of a definition, in memory. The result is a definition too, with the same nodes.
    ///
    /// # Errors
    /// If the form of a file is too unusual.
    pub fn of(definition: &Definition, profile: &Profile) -> Result<Self, RewriteError> {
        let sources = Sources::of(definition)?;
        let wholes = profile.whole_nodes();
        let ran = || wholes.iter().filter(|node| node.ran > 0);
        let by_name: HashMap<&str, &Whole> = ran().map(|node| (&*node.name, node)).collect();
        let verdicts = certificate::check(definition, Bounds::default()).ok();
        let always = |place: usize| {
            let verdict = verdicts.as_ref().map(|all| all.nodes[place].verdict);
            verdict == Some(Verdict::Always)
        };
        let mut places: BTreeMap<Place, Vec<(usize, &Whole)>> = BTreeMap::new();
        let (mut left, mut unmeasured) = (Vec::new(), Vec::new());
        for (place, defined) in definition.nodes.iter().enumerate() {
            let name = &defined.name.value;
            match by_name.get(name.as_str()) {
                None => unmeasured.push(name.clone()),
                Some(node) => match sources.place_of(name) {
                    Some(stands) => places.entry(stands).or_default().push((place, node)),
                    None => left.push((name.clone(), "it stands in none of the files".to_owned())),
                },
            }
        }
        for node in ran() {
            if !definition
                .nodes
                .iter()
                .any(|defined| defined.name.value == node.name)
            {
                left.push((node.name.clone(), "the file has no such node".to_owned()));
            }
        }
        let mut hints: Vec<BTreeMap<String, Hints>> = vec![BTreeMap::new(); sources.texts.len()];
        for ((file, name), nodes) in places {
            let of_file = &sources.nodes[file][&name];
            let is_over = nodes
                .iter()
                .any(|(place, _)| definition.nodes[*place].over_list);
            let items = if of_file.has_foreach && is_over {
                Items::Own
            } else {
                Items::None
            };
            let goes_without = !of_file.says_runs && nodes.iter().all(|(place, _)| always(*place));
            let said = if goes_without {
                Always::Plain
            } else {
                Always::Said
            };
            let mut figures = Figures::default();
            nodes.iter().for_each(|(_, node)| figures.add(node));
            let cpus = nodes
                .iter()
                .map(|(place, _)| definition.nodes[*place].resources.cpus);
            let cpus = cpus.max().unwrap_or(1);
            if let Some(of_node) = figures.hints(items, said, cpus) {
                hints[file].insert(name, of_node);
            }
        }
        let mut files = Vec::with_capacity(sources.texts.len());
        for (source, hints) in sources.texts.iter().zip(&hints) {
            let rewritten = rewrite::rewrite(&source.name, &source.text, hints)?;
            let reasons = rewritten.left.into_iter();
            left.extend(reasons.map(|(node, reason)| {
                let place = format!("{}: {reason}", source.name);
                (node, place)
            }));
            files.push(HintedFile {
                name: source.name.to_string(),
                text: rewritten.text,
                changes: rewritten.changes,
            });
        }
        let hinted = Self {
            files,
            left,
            unmeasured,
        };
        hinted.definition()?;
        Ok(hinted)
    }

    /// What the files say now.
    ///
    /// # Errors
    /// Only if what was made of the files is wrong, which a definition and its own hints never give.
    pub fn definition(&self) -> Result<Definition, DefinitionError> {
        let files = self.files.iter();
        let files = files.map(|file| (file.name.as_str(), file.text.as_str()));
        definition_of(&files.collect::<Vec<_>>())
    }

    /// What has changed, in all files.
    pub fn changes(&self) -> impl Iterator<Item = (&HintedFile, &Change)> {
        let each = |file| HintedFile::each_change(file);
        self.files.iter().flat_map(each)
    }

    /// Leaves all files but those for which `keep` holds as they were, and says so of their nodes.
    pub fn leave(&mut self, keep: impl Fn(&HintedFile) -> bool) {
        for file in &mut self.files {
            if keep(file) {
                continue;
            }
            let mut nodes: Vec<String> = Vec::new();
            for change in file.changes.drain(..) {
                if nodes.last() != Some(&change.node) {
                    nodes.push(change.node);
                }
            }
            let reason = format!("it stands in {}: name that with --write, too", file.name);
            let all = nodes.into_iter().map(|node| (node, reason.clone()));
            self.left.extend(all);
        }
    }
}

impl HintedFile {
    fn each_change(&self) -> impl Iterator<Item = (&Self, &Change)> {
        self.changes.iter().map(move |change| (self, change))
    }
}

/// The definition in files by name, the first of which is the workflow's.
///
/// # Errors
/// As [`definition::parse_with`]; a file that another one names and that is none of these is a problem there.
///
/// # Panics
/// If there is no file.
pub fn definition_of(files: &[(&str, &str)]) -> Result<Definition, DefinitionError> {
    let (name, text) = files[0];
    let mut others = |path: &Path| {
        let path = path.display().to_string();
        let file = files.iter().find(|(name, _)| *name == path);
        let missing = || io::Error::new(io::ErrorKind::NotFound, "it was not kept with the others");
        file.map(|(_, text)| text.as_bytes().to_vec())
            .ok_or_else(missing)
    };
    definition::parse_with(name, text.as_bytes(), &mut others)
}

/// The mark that some programs put in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Puts a text in the place of a file's, whole or not at all: it is written beside it and takes its name. Its permissions
/// stay, a byte order mark too, and a symbolic link goes on to lead to it.
///
/// # Errors
/// If the file cannot be read, or nothing can be written beside it; then it is as it was.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let before = std::fs::read(&path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::Builder::new()
        .prefix(".faasflow-")
        .tempfile_in(folder)?;
    if before.starts_with(BYTE_ORDER_MARK) {
        new.write_all(BYTE_ORDER_MARK)?;
    }
    new.write_all(text.as_bytes())?;
    let permissions = std::fs::metadata(&path)?.permissions();
    new.as_file().set_permissions(permissions)?;
    new.as_file().sync_all()?;
    new.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Makes a file with this text, whole or not at all; one that is there by then keeps what it has.
///
/// # Errors
/// If nothing can be written into its folder, or there is a file of that name.
pub fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut new = tempfile::Builder::new()
        .prefix(".faasflow-")
        // As any new file: the umask takes its part.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}
