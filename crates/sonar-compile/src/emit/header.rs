//! The header with which C and C++ programs call a model.

use super::{Interface, Port};
use std::fmt::Write;

/// The text.
pub fn text(interface: &Interface<'_>) -> String {
    let Interface { name, target, planned, object, inputs, outputs } = interface;
    let upper = name.to_ascii_uppercase();
    let mut constants = format!("#define {upper}_INPUTS {}\n#define {upper}_OUTPUTS {}\n", inputs.len(), outputs.len());
    for (what, ports) in [("input", inputs), ("output", outputs)] {
        ports.iter().enumerate().for_each(|(i, port)| describe(&mut constants, &upper, what, i, port));
    }
    let model = comment(&planned.plan.name);
    let version = env!("CARGO_PKG_VERSION");
    let link = match (object.needs_libm, object.needs_libc) {
        (true, _) => "Link with -lm: it calls mathematical functions of the C library.",
        (false, true) => "It calls the C library to ask for the processor, and no other library.",
        (false, false) => "It calls no library.",
    };
    let functions = ["run", "workspace_size", "supported"];
    let fingerprint = &object.fingerprint;
    let second_names: String =
        functions.iter().map(|function| format!("#define {name}_{function} {name}_{function}_{fingerprint}\n")).collect();
    let (cpu, triple, workspace) = (target.cpu(), target.triple(), object.workspace_bytes);
    format!(
        r#"/* `{model}`, compiled by Sonar {version} for {cpu} ({triple}).
 *
 *     const float *const inputs[{upper}_INPUTS] = {{ ... }};
 *     float *const outputs[{upper}_OUTPUTS] = {{ ... }};
 *     void *workspace = malloc({name}_workspace_size());
 *     if (!{name}_supported() || {name}_run(inputs, outputs, workspace) != 0) {{ ... }}
 *
 * Weights are part of the object. {link}
 */
#if defined({upper}_H) && {upper}_FINGERPRINT != 0x{fingerprint}
#error "two models are called {name}: compile one of them with another --out or --symbol-prefix"
#endif
#ifndef {upper}_H
#define {upper}_H

/* The functions are called by their second names, which no other model has. So this header links with this model only. */
#define {upper}_FINGERPRINT 0x{fingerprint}
{second_names}
#include <stddef.h>

#ifdef __cplusplus
extern "C" {{
#endif

{constants}
/* Bytes that a workspace needs; its address need not be aligned. */
#define {upper}_WORKSPACE_BYTES {workspace}
size_t {name}_workspace_size(void);

/* 1 if this processor has every instruction that {name}_run uses, 0 if it has not: then {name}_run must not be called. */
int {name}_supported(void);

/* Computes the outputs from the inputs; tensors are row-major and do not overlap. Returns 0, or 1 if a pointer is null.
 *
 * It runs on the calling thread alone and allocates nothing. All that it changes is in the outputs and the workspace, whose
 * contents before and after mean nothing: threads may call it at the same time, each with a workspace of its own. */
int {name}_run(const float *const *inputs, float *const *outputs, void *workspace);

#ifdef __cplusplus
}}
#endif

#endif
"#
    )
}

/// Constants for the shape of a tensor.
fn describe(text: &mut String, upper: &str, what: &str, index: usize, port: &Port) {
    let shape: Vec<String> = port.shape.iter().map(ToString::to_string).collect();
    let shape = shape.join(", ");
    let name = port.name.as_ref().map(|name| format!(" `{}`", comment(name))).unwrap_or_default();
    let prefix = format!("{upper}_{}_{index}", what.to_ascii_uppercase());
    let (rank, elements) = (port.shape.len(), port.elements());
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n/* {what} {index}{name}: float[{shape}] */\n#define {prefix}_RANK {rank}\n#define {prefix}_SHAPE {{ {shape} }}\n#define {prefix}_ELEMENTS {elements}\n",
    );
}

/// Text that cannot end the surrounding comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().replace("*/", "* /")
}
