//! The files that a call writes: none is one that it reads, and no two are one.

use crate::exit::Exit;
use miette::Diagnostic;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file, and what it is to the call, as in `--timeline`.
#[derive(Clone, Debug)]
pub(crate) struct Named<'a> {
    what: String,
    path: &'a Path,
}

impl<'a> Named<'a> {
    pub(crate) fn new(what: impl Into<String>, path: &'a Path) -> Self {
        Self {
            what: what.into(),
            path,
        }
    }
}

#[derive(Debug, Error, Diagnostic)]
enum TargetError {
    #[error("{what} would overwrite {read}: {}", path.display())]
    #[diagnostic(help("name another file; nothing was written"))]
    Read {
        what: String,
        read: String,
        path: PathBuf,
    },
    #[error("{first} and {second} are both to be written to {}", path.display())]
    #[diagnostic(help("name two files; nothing was written"))]
    Same {
        first: String,
        second: String,
        path: PathBuf,
    },
}

/// Whether everything can be written without the loss of anything else of the call.
pub(crate) fn check(written: &[Named<'_>], read: &[Named<'_>]) -> Result<(), Exit> {
    let read: Vec<_> = read.iter().map(|one| (one, which(one.path))).collect();
    for (index, one) in written.iter().enumerate() {
        let Some(file) = which(one.path) else {
            continue;
        };
        let is_same = |other: &Option<PathBuf>| other.as_ref() == Some(&file);
        let path = one.path.to_owned();
        if let Some((read, _)) = read.iter().find(|(_, other)| is_same(other)) {
            return Err(Exit::input(TargetError::Read {
                what: one.what.clone(),
                read: read.what.clone(),
                path,
            }));
        }
        let mut before = written[..index].iter();
        if let Some(first) = before.find(|other| is_same(&which(other.path))) {
            return Err(Exit::input(TargetError::Same {
                first: first.what.clone(),
                second: one.what.clone(),
                path,
            }));
        }
    }
    Ok(())
}

/// Which file a path leads to, whatever it is called; none for what is no file and no folder, as a terminal or a pipe.
fn which(path: &Path) -> Option<PathBuf> {
    if let Ok(found) = path.canonicalize() {
        return found.is_file().then_some(found);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_whatever_path_leads_to_it() {
        let folder = std::env::temp_dir().join(format!("faasflow-targets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let read = folder.join("w.yaml");
        std::fs::write(&read, "").unwrap();
        let link = folder.join("link");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&read, &link).unwrap();
        let named = |path: &'static str| folder.join(path);
        let (new, also_new, roundabout) = (named("new"), named("./new"), named("../x/w.yaml"));
        let says = |written: &[&Path]| {
            let written: Vec<_> = written
                .iter()
                .map(|path| Named::new("--out", path))
                .collect();
            let read = [Named::new("the workflow", &read)];
            check(&written, &read).err().map(|exit| format!("{exit:?}"))
        };
        assert!(says(&[&link]).unwrap().contains("the workflow"));
        assert!(says(&[&new, &also_new]).unwrap().contains("both"));
        assert!(says(&[&new]).is_none());
        assert!(says(&[&roundabout]).is_none());
        let null = Path::new("/dev/null");
        assert!(says(&[null, null]).is_none());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
