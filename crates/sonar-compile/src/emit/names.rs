//! Names of the written files, and of the functions in them.
//!
//! Functions are named after the file. Exporters often give all graphs the same name, but two files of one program have
//! different names.

use super::ending;
use crate::args::{CompileArgs, Emit};
use crate::exit::{Exit, Failure, fail};
use std::path::{Path, PathBuf};

/// Prefix for a name that is not valid alone.
const BEFORE: &str = "model_";

/// The path of the files without extension: `--out`, or else the name of the model's file, in the current folder.
///
/// An extension that one of the files would get is removed, so `--emit shared-lib --out net.so` writes `net.so`.
pub fn stem(args: &CompileArgs) -> Result<PathBuf, Failure> {
    let Some(out) = &args.out else {
        let model = args.model.model.file_stem().map(PathBuf::from);
        return Ok(model.unwrap_or_else(|| PathBuf::from("model")));
    };
    if out.is_dir() {
        return Err(no_stem(out));
    }
    let name = file_name(out)?;
    let bare = args.emit.iter().find_map(|&kind: &Emit| name.strip_suffix(ending(kind))?.strip_suffix('.'));
    Ok(match bare {
        Some(bare) if !bare.is_empty() => out.with_file_name(bare),
        _ => out.clone(),
    })
}

/// The last part of a path, which must be a name.
pub fn file_name(path: &Path) -> Result<String, Failure> {
    let open_ended = path.as_os_str().to_string_lossy().ends_with('/');
    let name = path.file_name().filter(|_| !open_ended).ok_or_else(|| no_stem(path))?;
    Ok(name.to_string_lossy().into_owned())
}

fn no_stem(path: &Path) -> Failure {
    let message = format!("--out {}: a folder; expected DIR/STEM, to which endings such as .o are added", path.display());
    fail(Exit::Usage, message)
}

/// The prefix of the function names: `--symbol-prefix`, or else the name of the files as an identifier.
pub fn prefix(args: &CompileArgs, stem: &Path) -> Result<String, Failure> {
    match &args.symbol_prefix {
        None => Ok(identifier(&file_name(stem)?)),
        Some(given) if identifier(given) == *given => Ok(given.clone()),
        Some(given) => Err(fail(
            Exit::Usage,
            format!("--symbol-prefix {given}: not the beginning of a name in C; try {}", identifier(given)),
        )),
    }
}

/// A C identifier that is as similar as possible to the given name. Characters other than letters, digits and `_` become `_`,
/// and a name that does not begin with a letter gets the prefix `model_`. A keyword stays unchanged, because it is only part of
/// longer names: `for` becomes `for_run`.
fn identifier(name: &str) -> String {
    let identifier: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if identifier.starts_with(|c: char| c.is_ascii_alphabetic()) { identifier } else { format!("{BEFORE}{identifier}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_in_c() {
        assert_eq!(identifier("nb201_resnet"), "nb201_resnet");
        assert_eq!(identifier("torch-jit.export"), "torch_jit_export");
        assert_eq!(identifier("2021 net"), "model_2021_net");
        assert_eq!(identifier("_x"), "model__x");
        assert_eq!(identifier(""), "model_");
        assert_eq!(identifier("größe"), "gr__e");
        assert_eq!(identifier("while"), "while");
    }
}
