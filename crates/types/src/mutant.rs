//! Planted bugs: switches in production code that compile to `false` but for builds with `--cfg highwater_mutants`.

/// Whether the planted bug of that name is switched on.
///
/// `if mutant!("log-no-fsync") { ... }` is dead code in every ordinary build. In a build with
/// `--cfg highwater_mutants` at most one bug is on per process, chosen by [`activate`].
#[macro_export]
macro_rules! mutant {
    ($id:literal) => {
        cfg!(highwater_mutants) && $crate::is_active($id)
    };
}

#[cfg(highwater_mutants)]
static ACTIVE: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Switches one planted bug on for the rest of this process. A second call with another name has no effect.
#[cfg(highwater_mutants)]
pub fn activate(id: &str) {
    let _ = ACTIVE.set(id.to_owned());
}

#[doc(hidden)]
#[cfg(highwater_mutants)]
pub fn is_active(id: &str) -> bool {
    ACTIVE.get().is_some_and(|active| active == id)
}

#[doc(hidden)]
#[cfg(not(highwater_mutants))]
pub const fn is_active(_id: &str) -> bool {
    false
}
