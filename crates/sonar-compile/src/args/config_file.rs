//! Configuration files of `search`: TOML. The keys are the long names of the flags.

use super::SearchOptions;
use crate::exit::{Exit, Failure, OrExit, fail};
use crate::model::load;
use sonar_train::TrainConfig;
use std::path::Path;

/// How similar two names must be, from 0 to 1, to count as a typing error of one another.
const ALIKE: f64 = 0.7;

/// Reads a file.
pub fn read(path: &Path) -> Result<SearchOptions, Failure> {
    let parsed = toml::from_str(&load::text(path)?);
    parsed.map_err(|error: toml::de::Error| {
        let hint = suggestion(error.message()).map(|name| format!("did you mean `{name}`?\n")).unwrap_or_default();
        fail(Exit::BadInput, format!("{} is not a configuration: {error}{hint}", path.display()).trim_end())
    })
}

/// The training configuration: the defaults with the changes of `[training]` in the configuration file at `path`.
pub fn training(path: &Path, defaults: &TrainConfig, table: toml::Table) -> Result<TrainConfig, Failure> {
    let path = path.display();
    if let Some(key) = ["epochs", "seed"].into_iter().find(|&key| table.contains_key(key)) {
        let place =
            format!("{path}: `{key}` does not belong into [training]: write it before the first [section], or as --{key}");
        return Err(fail(Exit::BadInput, place));
    }
    let mut settings = toml::Table::try_from(defaults).or_exit(Exit::Internal)?;
    settings.extend(table);
    settings.try_into().map_err(|error: toml::de::Error| {
        let hint = suggestion(error.message()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        fail(Exit::BadInput, format!("{path}: [training] is not a configuration: {}{hint}", error.message()))
    })
}

/// An error message about an unknown name lists the known names. This returns the most similar one.
fn suggestion(message: &str) -> Option<&str> {
    // unknown field `a`, expected one of `b`, `c`
    let mut names = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let likeness = |name: &str| strsim::jaro_winkler(&unknown.replace('_', "-"), &name.replace('_', "-"));
    names.filter(|name| likeness(name) >= ALIKE).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand() {
        let said = |unknown: &str| format!("unknown field `{unknown}`, expected one of `space`, `latency-limit`, `candidates`");
        assert_eq!(suggestion(&said("candidats")), Some("candidates"));
        assert_eq!(suggestion(&said("latency_limit")), Some("latency-limit"));
        assert_eq!(suggestion(&said("x")), None);
        assert_eq!(suggestion("invalid type: string \"many\", expected usize"), None);
    }
}
