//! A file per subcommand.

pub mod exhaustive;
pub mod explain;
pub mod list;
pub mod quorum;
pub mod replay;
pub mod run;

use anyhow::Result;
use clap::ValueEnum;
use highwater_sim::EngineKind;

/// The engines, by the names that the command line has for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// turmoil: a host per node, byte-stream TCP
    #[default]
    Turmoil,
    /// The simulator's own executor, which skips idle time
    Executor,
    /// madsim; cargo xtask sim --engine madsim builds for it
    Madsim,
}

impl Engine {
    fn kind(self) -> Result<EngineKind> {
        match self {
            Self::Turmoil => Ok(EngineKind::Turmoil),
            Self::Executor => Ok(EngineKind::Executor),
            #[cfg(madsim)]
            Self::Madsim => Ok(EngineKind::Madsim),
            #[cfg(not(madsim))]
            Self::Madsim => {
                anyhow::bail!("this build has no madsim: cargo xtask sim --engine madsim makes one that has")
            }
        }
    }

    /// The option that asks for it again.
    fn option(self) -> String {
        if self == Self::default() { String::new() } else { format!(" --engine {}", name(self)) }
    }
}

fn name(engine: Engine) -> String {
    engine.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(highwater_mutants)]
fn activate(mutant: Option<&str>) -> Result<()> {
    if let Some(id) = mutant {
        highwater_types::activate(id);
    }
    Ok(())
}

#[cfg(not(highwater_mutants))]
fn activate(mutant: Option<&str>) -> Result<()> {
    anyhow::ensure!(
        mutant.is_none(),
        "this build has no planted bugs: build with RUSTFLAGS=\"--cfg tokio_unstable --cfg highwater_mutants\""
    );
    Ok(())
}

/// The option that plants a bug again.
fn mutant_option(mutant: Option<&str>) -> String {
    mutant.map(|id| format!(" --mutant {id}")).unwrap_or_default()
}
