//! The load under which a profile of our programs is taken, by which they are then compiled
//! (`bench/optimise`): what requests mostly are, with and without TLS between router and extension.

use std::path::Path;
use std::time::Duration;

use crate::contender::Contender;
use crate::plan::{Generator, H2, KIB_100, MAIN, MIB_10_DOWN, MIB_10_UP, SMALL_10};
use crate::rounds::Rounds;

/// Puts our programs under load and has them end by themselves, for a profile is written at the
/// end.
pub(crate) async fn train(rounds: &mut Rounds, folder: &Path) -> anyhow::Result<()> {
    for contender in [Contender::Ours, Contender::OursTls] {
        let running = rounds.only(contender).await?;
        for load in LOADS {
            load.run(running, SPAN, folder).await?;
        }
        rounds.take(contender)?.drain().await?;
    }
    Ok(())
}

const LOADS: [Generator; 6] = [MAIN, SMALL_10, H2, KIB_100, MIB_10_DOWN, MIB_10_UP];
const SPAN: Duration = Duration::from_secs(3);
