//! The load under which a profile of our programs is taken, by which they are then compiled
//! (`bench/optimise`): what requests mostly are, with and without TLS between router and extension.

use std::path::Path;
use std::time::Duration;

use crate::contender::Contender;
use crate::plan::{Generator, MAIN};
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

const LOADS: [Generator; 6] = [
    MAIN,
    Generator::Wrk { connections: 10, path: "/" },
    Generator::H2load { clients: 10, streams: 10, path: "/" },
    Generator::Closed { connections: 10, path: "/100k", body: 0 },
    Generator::Closed { connections: 4, path: "/10m", body: 0 },
    Generator::Closed { connections: 4, path: "/upload", body: 10 << 20 },
];
const SPAN: Duration = Duration::from_secs(3);
