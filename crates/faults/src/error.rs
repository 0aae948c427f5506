//! What is wrong with a scenario file.

/// Why a scenario file is refused: where, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}: {message}{}", hint(suggestion.as_deref()))]
pub struct ScenarioError {
    /// The file, as it was named.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|suggestion| format!(", did you mean {suggestion}?")).unwrap_or_default()
}
