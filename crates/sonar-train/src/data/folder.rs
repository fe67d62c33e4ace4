//! Finds the files of a data set by their names, in a folder or in the subfolder that a published archive creates in it.

use super::cifar::Variant;
use super::idx;
use crate::error::{DataProblem, TrainError};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Subfolders that archives and download programs create.
const INNER: [&str; 8] =
    ["raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw", "gzip", "cifar-10-batches-bin", "cifar-100-binary"];

/// Files of the Python versions, which are not plain data.
const PYTHON: [&str; 4] = ["data_batch_1", "cifar-10-batches-py", "cifar-100-python", "batches.meta"];

/// File extensions of pictures.
const PICTURES: [&str; 6] = ["png", "jpg", "jpeg", "bmp", "webp", "ppm"];

/// How many file names an error message lists.
const TOLD: usize = 3;

/// The files of a data set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// Two files for each part: images and labels.
    Idx {
        /// Training images and labels.
        train: [PathBuf; 2],
        /// Test images and labels.
        test: [PathBuf; 2],
    },
    /// Files of records.
    Cifar {
        /// The format of a record.
        variant: Variant,
        /// Training batches.
        train: Vec<PathBuf>,
        /// The batch of test images.
        test: PathBuf,
    },
}

/// Finds the files of a data set.
///
/// # Errors
/// There is no data set, a part of it is missing, there is more than one, or the folder cannot be read.
pub(super) fn find(path: &Path) -> Result<Files, TrainError> {
    let at = |problem| TrainError::Data { path: path.into(), problem };
    let mut seen = Vec::new();
    for folder in std::iter::once(path.to_path_buf()).chain(INNER.map(|inner| path.join(inner))) {
        if folder != path && !folder.is_dir() {
            continue;
        }
        let names = names(&folder)?;
        let found = [idx_files(&folder, &names), cifar_files(&folder, &names, Variant::Cifar10), {
            cifar_files(&folder, &names, Variant::Cifar100)
        }];
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        match found.len() {
            0 => seen.push((folder, names)),
            1 => return found.remove(0).map_err(|problem| TrainError::Data { path: folder, problem }),
            _ => return Err(TrainError::Data { path: folder, problem: DataProblem::Mixed }),
        }
    }
    let entries: BTreeSet<&String> = seen.iter().flat_map(|(_, names)| names).collect();
    if entries.iter().any(|name| PYTHON.contains(&name.as_str())) {
        return Err(at(DataProblem::Python));
    }
    if let Some(picture) = seen.first().and_then(|(folder, names)| picture(folder, names)) {
        return Err(at(DataProblem::Pictures { example: picture }));
    }
    let told: Vec<&str> =
        seen.first().map(|(_, names)| names.iter().take(TOLD).map(String::as_str).collect()).unwrap_or_default();
    Err(at(DataProblem::Unknown { holds: told.join(", ") }))
}

/// The file names in a folder, sorted.
fn names(folder: &Path) -> Result<Vec<String>, TrainError> {
    let failed = |source| TrainError::Io { action: "read", path: folder.into(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// A picture in a folder or in one of its subfolders.
fn picture(folder: &Path, entries: &[String]) -> Option<PathBuf> {
    let is_picture = |name: &str| PICTURES.iter().any(|end| name.to_ascii_lowercase().ends_with(&format!(".{end}")));
    let of_folder = |inner: &String| {
        let inner_names = names(&folder.join(inner)).ok()?;
        inner_names.into_iter().find(|name| is_picture(name)).map(|name| Path::new(inner).join(name))
    };
    entries.iter().find(|name| is_picture(name)).map(PathBuf::from).or_else(|| entries.iter().find_map(of_folder))
}

/// The four IDX files, or `None` if there is none of them.
fn idx_files(folder: &Path, names: &[String]) -> Option<Result<Files, DataProblem>> {
    let mut roles: [Vec<&String>; 4] = Default::default();
    for name in names.iter().filter(|name| folder.join(name).is_file()) {
        if let Some(role) = idx::role(name) {
            roles[role as usize].push(name);
        }
    }
    if roles.iter().all(Vec::is_empty) {
        return None;
    }
    let mut files = Vec::new();
    for (role, found) in idx::ROLES.iter().zip(&roles) {
        // A file and its compressed form are the same. The plain file comes first.
        let plain = |name: &str| name.strip_suffix(".gz").unwrap_or(name).to_string();
        match found.as_slice() {
            [] => return Some(Err(DataProblem::Missing { what: role.what(), expected: role.file() })),
            [first, others @ ..] => {
                if let Some(other) = others.iter().find(|other| plain(other) != plain(first)) {
                    let [first, second] = [first, other].map(|name| name.to_string());
                    return Some(Err(DataProblem::Two { what: role.what(), first, second }));
                }
                files.push(folder.join(first));
            }
        }
    }
    let [train_images, train_labels, test_images, test_labels] = <[PathBuf; 4]>::try_from(files).ok()?;
    Some(Ok(Files::Idx { train: [train_images, train_labels], test: [test_images, test_labels] }))
}

/// The batches of a variant of CIFAR, or `None` if there is none of them.
fn cifar_files(folder: &Path, names: &[String], variant: Variant) -> Option<Result<Files, DataProblem>> {
    let find = |name: &str| {
        let packed = format!("{name}.gz");
        names.iter().find(|found| **found == name || **found == packed).map(|found| folder.join(found))
    };
    let (train, test) = variant.files();
    let found: Vec<Option<PathBuf>> = train.iter().map(|name| find(name)).collect();
    if found.iter().all(Option::is_none) {
        return None;
    }
    let missing = |what, expected: &str| DataProblem::Missing { what, expected: expected.to_string() };
    let train: Result<Vec<PathBuf>, DataProblem> =
        found.into_iter().zip(train).map(|(file, name)| file.ok_or_else(|| missing("training images", name))).collect();
    let test = find(test).ok_or_else(|| missing("test images", test));
    Some(train.and_then(|train| Ok(Files::Cifar { variant, train, test: test? })))
}
