//! Tensors in files: the arguments of `--input`, `--weights` and `--output`.
//!
//! The file name determines the format. `.npy` holds one tensor, `.npz` and `.safetensors` hold tensors by name. Any other file
//! is raw: 32-bit floating point, little-endian, the last axis fastest. A raw file without a tensor name holds all tensors one
//! after the other.

use crate::exit::{Exit, Failure, OrExit, fail};
use crate::terminal::output::save;
use crate::terminal::stderr::warn;
use sonar_files::{Array, npy, npz, safetensors, seems};
use sonar_ir::{Graph, NodeId};
use std::collections::BTreeSet;
use std::path::Path;

/// The largest accepted tensor file, in bytes.
const MAX_FILE: u64 = 64 << 30;

/// An input, parameter or output of a model.
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// The role of the tensors of an option.
#[derive(Clone, Copy)]
pub enum Role {
    /// `--input`
    Input,
    /// `--weights`
    Parameter,
    /// `--output`
    Output,
}

impl Role {
    /// The name of the option, and the word for such a tensor.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Role::Input => ("--input", "input"),
            Role::Parameter => ("--weights", "parameter"),
            Role::Output => ("--output", "output"),
        }
    }
}

/// Values of a graph as ports, with the given names or those of the nodes.
pub fn ports(graph: &Graph, ids: &[NodeId], names: Option<&[String]>) -> Vec<Port> {
    let mut taken = BTreeSet::new();
    let port = |(i, &id): (usize, &NodeId)| {
        let given = names.and_then(|names| names.get(i).cloned()).or_else(|| graph.node(id).name.clone());
        let name = given.filter(|name| !taken.contains(name)).unwrap_or_else(|| format!("output{i}"));
        taken.insert(name.clone());
        Port { name, shape: graph.ty(id).extents().unwrap_or_default() }
    };
    ids.iter().enumerate().map(port).collect()
}

impl Port {
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The values of all ports from files, each given as `FILE` or `NAME=FILE`. `None` if there are no files.
pub fn read(options: &[String], ports: &[Port], role: Role) -> Result<Option<Vec<Vec<f32>>>, Failure> {
    if options.is_empty() {
        return Ok(None);
    }
    let (option, word) = role.words();
    let mut found: Vec<Option<Vec<f32>>> = vec![None; ports.len()];
    for text in options {
        let (port, path) = choice(text, ports, role)?;
        for (index, data) in read_file(path, port, ports, role)? {
            if found[index].replace(data).is_some() {
                return Err(fail(Exit::Usage, format!("{option} gives the {word} `{}` twice", ports[index].name)));
            }
        }
    }
    let missing = |port: &Port| fail(Exit::BadInput, format!("no file gives the {word} `{0}`: add {option} {0}=FILE", port.name));
    let all = ports.iter().zip(found).map(|(port, data)| data.ok_or_else(|| missing(port)));
    all.collect::<Result<_, _>>().map(Some)
}

/// The values of all ports from one file.
pub fn read_all(path: &Path, ports: &[Port], role: Role) -> Result<Vec<Vec<f32>>, Failure> {
    Ok(read_file(path, None, ports, role)?.into_iter().map(|(_, data)| data).collect())
}

/// Writes the values of ports to files, each given as `FILE` or `NAME=FILE`.
pub fn write(options: &[String], ports: &[Port], data: &[Vec<f32>]) -> Result<(), Failure> {
    for text in options {
        let (port, path) = choice(text, ports, Role::Output)?;
        let chosen = match port {
            Some(index) => index..index + 1,
            None => 0..ports.len(),
        };
        let array = |index: usize| Array::from_f32(ports[index].shape.clone(), &data[index]);
        let bytes = match extension(path).as_deref() {
            Some("npy") if chosen.len() == 1 => npy::format(&array(chosen.start)),
            Some("npy") => return Err(one_of_many(path, ports, Role::Output)),
            Some("npz") => {
                let arrays: Vec<(&str, Array)> = chosen.map(|index| (ports[index].name.as_str(), array(index))).collect();
                npz::format(arrays.iter().map(|(name, array)| (*name, array))).or_exit(Exit::Internal)?
            }
            Some("safetensors") => {
                let arrays: Vec<(&str, Array)> = chosen.map(|index| (ports[index].name.as_str(), array(index))).collect();
                safetensors::format(arrays.iter().map(|(name, array)| (*name, array))).or_exit(Exit::Internal)?
            }
            _ => data[chosen].iter().flatten().flat_map(|v| v.to_le_bytes()).collect(),
        };
        save(path, bytes)?;
    }
    Ok(())
}

/// The port and the file in `FILE` or `NAME=FILE`. Names and paths may contain `=` too.
fn choice<'a>(text: &'a str, ports: &[Port], role: Role) -> Result<(Option<usize>, &'a Path), Failure> {
    let named = |(at, _): (usize, &str)| Some((ports.iter().position(|port| port.name == text[..at])?, &text[at + 1..]));
    if let Some((port, path)) = text.match_indices('=').find_map(named) {
        return Ok((Some(port), Path::new(path)));
    }
    match text.split_once('=') {
        Some((name, _)) if !name.contains('/') => {
            let (option, word) = role.words();
            let message = format!("{option} {text}: the model has no {word} `{name}`; its {word}s are {}", names(ports));
            Err(fail(Exit::BadInput, message))
        }
        _ => Ok((None, Path::new(text))),
    }
}

/// The tensors of a file: of the chosen port, or of all ports in order.
fn read_file(path: &Path, port: Option<usize>, ports: &[Port], role: Role) -> Result<Vec<(usize, Vec<f32>)>, Failure> {
    let bytes = sonar_files::read(path, MAX_FILE).or_exit(Exit::BadInput)?;
    let hint = || match seems(&bytes, bytes.len() as u64) {
        Some(seems) => format!("; {seems}"),
        None => String::new(),
    };
    let extension = extension(path);
    let is = |magic: &[u8], ending: &str| bytes.starts_with(magic) || extension.as_deref() == Some(ending);
    if is(npy::MAGIC, "npy") {
        let array = npy::parse(&bytes).map_err(|e| fail(Exit::BadInput, format!("{}: {e}{}", path.display(), hint())))?;
        let index = match port {
            Some(index) => index,
            None if ports.len() == 1 => 0,
            None => return Err(one_of_many(path, ports, role)),
        };
        return Ok(vec![(index, checked(path, &array, &ports[index], role)?)]);
    }
    if is(npz::MAGIC, "npz") {
        let arrays = npz::parse(&bytes).map_err(|e| fail(Exit::BadInput, format!("{}: {e}{}", path.display(), hint())))?;
        return from_archive(path, &arrays, port, ports, role);
    }
    if extension.as_deref() == Some("safetensors") {
        let arrays =
            safetensors::parse(&bytes).map_err(|e| fail(Exit::BadInput, format!("{}: {e}{}", path.display(), hint())))?;
        return from_archive(path, &arrays, port, ports, role);
    }
    let chosen = match port {
        Some(index) => index..index + 1,
        None => 0..ports.len(),
    };
    let word = role.words().1;
    let wanted: usize = ports[chosen.clone()].iter().map(Port::elements).sum();
    let shown = path.display();
    if bytes.len() % 4 != 0 {
        let what = format!("{shown} has {} bytes, which is not a whole number of f32{}", bytes.len(), hint());
        return Err(fail(Exit::BadInput, what));
    }
    let count = bytes.len() / 4;
    if count != wanted {
        let wanted = match port.map(|index| &ports[index]) {
            Some(port) => format!("the {word} `{}` of shape {:?} has {wanted}", port.name, port.shape),
            None => format!("the model's {word}s have {wanted}"),
        };
        return Err(fail(Exit::BadInput, format!("{shown} holds {count} numbers; {wanted}{}", hint())));
    }
    let mut numbers = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    Ok(chosen.map(|index| (index, numbers.by_ref().take(ports[index].elements()).collect())).collect())
}

/// The tensors of a file of named arrays. An array that belongs to no port is reported and skipped.
fn from_archive(
    path: &Path,
    arrays: &[(String, Array)],
    port: Option<usize>,
    ports: &[Port],
    role: Role,
) -> Result<Vec<(usize, Vec<f32>)>, Failure> {
    let word = role.words().1;
    let named = |name: &str| arrays.iter().find(|(found, _)| found == name).map(|(_, array)| array);
    let held = || arrays.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let missing = |port: &Port| {
        let message = format!("{} has no array `{}` for the {word} of that name; it has {}", path.display(), port.name, held());
        fail(Exit::BadInput, message)
    };
    if let Some(index) = port {
        let only = if let [(_, array)] = arrays { Some(array) } else { None };
        let array = named(&ports[index].name).or(only).ok_or_else(|| missing(&ports[index]))?;
        return Ok(vec![(index, checked(path, array, &ports[index], role)?)]);
    }
    let mut tensors = Vec::with_capacity(ports.len());
    for (index, port) in ports.iter().enumerate() {
        let array = named(&port.name).ok_or_else(|| missing(port))?;
        tensors.push((index, checked(path, array, port, role)?));
    }
    for (name, _) in arrays.iter().filter(|(name, _)| !ports.iter().any(|port| port.name == *name)) {
        warn(format_args!("{}: the array `{name}` is not used: the model has no {word} of that name", path.display()));
    }
    Ok(tensors)
}

/// The numbers of an array, which must have the shape of the port.
fn checked(path: &Path, array: &Array, port: &Port, role: Role) -> Result<Vec<f32>, Failure> {
    let (shown, word) = (path.display(), role.words().1);
    let Port { name, shape } = port;
    if array.shape != *shape {
        let found = &array.shape;
        let moved = |order: [usize; 4]| found.len() == 4 && order.iter().map(|&axis| found[axis]).eq(shape.iter().copied());
        let hint = if moved([0, 3, 1, 2]) || moved([0, 2, 3, 1]) {
            format!(": its axes seem to be in another order than those of the {word}")
        } else if found.len() == shape.len() && found.len() > 1 && found[1..] == shape[1..] {
            format!(": give --batch {}, if the model leaves the first axis open", found[0])
        } else {
            String::new()
        };
        let message = format!("{shown} holds an array of shape {found:?}; the {word} `{name}` has the shape {shape:?}{hint}");
        return Err(fail(Exit::BadInput, message));
    }
    array.to_f32().map_err(|e| fail(Exit::BadInput, format!("{shown}, for the {word} `{name}`: {e}")))
}

fn one_of_many(path: &Path, ports: &[Port], role: Role) -> Failure {
    let (option, word) = role.words();
    let message = format!(
        "{0} is for one {word}, and the model has {1}: say which with {option} NAME={0}, or use a .npz file",
        path.display(),
        names(ports)
    );
    fail(Exit::BadInput, message)
}

fn names(ports: &[Port]) -> String {
    ports.iter().map(|port| format!("`{}`", port.name)).collect::<Vec<_>>().join(", ")
}

/// The file extension in lower case.
fn extension(path: &Path) -> Option<String> {
    path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase())
}
