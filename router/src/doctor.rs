//! `lambda-dispatch doctor`: would a router of these settings work, and if not, why.
//!
//! It finds region and credentials as the router does, asks Lambda about the function of each pool
//! (may it be invoked, how is it configured), starts nothing, and judges what it found by one
//! [table] of faults. What may not be asked is said and is no fault: the router itself needs no
//! permission but to invoke.
//!
//! It ends with 0 if nothing breaks, with 1 if something does, with 2 if it was not asked rightly:
//! wrong flags, or settings that cannot be used.

pub mod facts;
mod page;
pub mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::aws::AwsError;
use crate::aws::look::Looker;
use crate::callback::{self, CallbackHost};
use crate::cli::DoctorArgs;
use crate::serve;
use crate::settings::{Aws, PoolPlan, Settings};

use facts::{Access, Said};
use table::{Case, Finding, Router, Severity};

pub use page::as_rows;

/// Everything that was found out, and what was wrong with it.
#[derive(Debug)]
struct Examined {
    scheme: &'static str,
    port: u16,
    callback: Result<CallbackHost, String>,
    router: Vec<Finding>,
    ways: Vec<Way>,
    functions: Vec<Function>,
}

/// One way to the Lambda API; pools may have several, for functions in several regions.
#[derive(Debug)]
struct Way {
    access: Result<Access, AwsError>,
    findings: Vec<Finding>,
}

/// The function of one pool.
#[derive(Debug)]
struct Function {
    pool: String,
    name: String,
    said: Said,
    findings: Vec<Finding>,
}

impl Examined {
    fn count(&self, severity: Severity) -> usize {
        let ways = self.ways.iter().flat_map(|way| &way.findings);
        let functions = self.functions.iter().flat_map(|function| &function.findings);
        let all = self.router.iter().chain(ways).chain(functions);
        all.filter(|finding| finding.severity == severity).count()
    }
}

/// Examines, prints, and says by its status how it is.
///
/// # Errors
///
/// None: what cannot be done is a finding, or its status.
pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let settings = match serve::load(&args.configured) {
        Ok(settings) => settings,
        Err(error) => {
            crate::say(&format!("lambda-dispatch: {error:#}"));
            return Ok(ExitCode::from(2));
        }
    };
    let examined = examine(&settings, args.timeout).await;
    crate::print(&if args.json {
        format!("{:#}\n", page::as_json(&examined))
    } else {
        page::as_text(&examined, crate::shows_colours(&std::io::stdout()))
    })?;
    let breaks = examined.count(Severity::Breaks) > 0;
    Ok(if breaks { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(settings: &Settings, patience: Duration) -> Examined {
    let variable = |name: &str| std::env::var(name).ok();
    let callback = callback::find(&settings.callback, variable).await;
    let callback = callback.map_err(|error| error.to_string());
    let router = Router { settings, callback: &callback };
    let (scheme, port) = settings.callback_endpoint();
    let mut ways: Vec<(&Aws, Way, Option<Looker>)> = Vec::new();
    for pool in &settings.pools {
        if ways.iter().any(|(aws, ..)| **aws == pool.aws) {
            continue;
        }
        let (looker, access) = match Looker::connect(&pool.aws, patience).await {
            Ok((looker, access)) => (Some(looker), Ok(access)),
            Err(error) => (None, Err(error)),
        };
        let findings = table::of_access(&access);
        ways.push((&pool.aws, Way { access, findings }, looker));
    }
    let mut said = BTreeMap::new();
    // A few at a time: AWS throttles who asks for much at once.
    for pools in settings.pools.chunks(AT_ONCE) {
        let mut asked = JoinSet::new();
        for pool in pools {
            let looker = ways.iter().find(|(aws, ..)| **aws == pool.aws);
            let Some(looker) = looker.and_then(|(.., looker)| looker.clone()) else { continue };
            let PoolPlan { name, function, .. } = pool.clone();
            asked.spawn(async move { (name, looker.look(&function).await) });
        }
        said.extend(asked.join_all().await);
    }
    let functions = settings.pools.iter().filter_map(|pool| {
        let said = said.remove(&pool.name)?;
        let findings = table::of_function(Case { router, pool, said: &said });
        Some(Function { pool: pool.name.clone(), name: pool.function.to_string(), said, findings })
    });
    let functions = functions.collect();
    let router = table::of_router(router);
    let ways = ways.into_iter().map(|(_, way, _)| way).collect();
    Examined { scheme, port, callback, router, ways, functions }
}

/// Functions that are asked about at once.
const AT_ONCE: usize = 8;
