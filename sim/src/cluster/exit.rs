//! How a program ends.

use std::fmt;

/// What a program or a check may return: nothing, a [`Result`] whose error can be shown, or not at all.
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

/// Gives a name to the type of what never returns, which cannot be written down outside of a function's signature.
pub trait Returns {
    /// What is returned.
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

// The type of an async block that only loops.
impl Exit for <fn() -> ! as Returns>::Output {
    fn into_result(self) -> Result<(), String> {
        self
    }
}
