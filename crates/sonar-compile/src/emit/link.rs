//! Shared libraries, linked with the system's C compiler.

use super::{Interface, save};
use crate::exit::{Exit, Failure, fail};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Links the object to a shared library. It depends on another library only if it calls mathematical functions.
pub fn shared_library(interface: &Interface<'_>, path: &Path) -> Result<(), Failure> {
    let object = path.with_extension(format!("{}.o", std::process::id()));
    save(&object, &interface.object.bytes)?;
    let linked = link(interface, &object, path);
    // Only the linker needed the object. If it cannot be deleted, that does no harm.
    let _ = std::fs::remove_file(&object);
    linked
}

fn link(interface: &Interface<'_>, object: &Path, path: &Path) -> Result<(), Failure> {
    let compiler = compiler(interface.target.triple());
    let (program, flags) = compiler.split_first().map(|(program, flags)| (program.as_str(), flags)).unwrap_or(("cc", &[]));
    let mut command = Command::new(program);
    command.args(flags).args(["-shared", "-nostdlib", "-o"]).arg(path).arg(object);
    if let Some(name) = path.file_name() {
        command.arg(format!("-Wl,-soname,{}", name.to_string_lossy()));
    }
    if interface.object.needs_libm {
        command.arg("-lm");
    }
    if interface.object.needs_libc {
        command.arg("-lc");
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(fail(Exit::BadInput, format!("`{program}` cannot link {}: {}", path.display(), said.trim())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(fail(
            Exit::BadInput,
            format!(
                "a shared library needs a C compiler, and there is no `{program}`: install one, name one in CC, or emit static-lib"
            ),
        )),
        Err(error) => Err(fail(Exit::BadInput, format!("cannot start `{program}`: {error}"))),
    }
}

/// The C compiler for an architecture, with its first arguments: from the environment, or the usual name.
fn compiler(triple: &str) -> Vec<String> {
    let given = std::env::var("CC").unwrap_or_default();
    if !given.trim().is_empty() {
        return given.split_whitespace().map(String::from).collect();
    }
    let architecture = triple.split('-').next().unwrap_or_default();
    // A triple for RISC-V includes the extensions, but the name of a compiler does not.
    let architecture = architecture.strip_suffix("gc").unwrap_or(architecture);
    if architecture == std::env::consts::ARCH { vec!["cc".into()] } else { vec![format!("{architecture}-linux-gnu-gcc")] }
}
