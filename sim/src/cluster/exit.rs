//! How a program ends.

use std::fmt;

/// What a program or a check may return: nothing, or a [`Result`] whose error can be shown.
pub trait Exit: Send + 'static {
    /// What came of it; the error as text.
    ///
    /// # Errors
    ///
    /// When the program ended with an error.
    fn into_result(self) -> Result<(), String>;
}

impl Exit for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display + Send + 'static> Exit for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        // The alternate form shows the causes too, where an error has any to show.
        self.map_err(|error| format!("{error:#}"))
    }
}
